"""How much of the machine a training uses: floating-point operations of a token, and what the machine could do.

Notation: ``d`` width, ``h`` heads, ``s`` tokens of a sequence.
"""

import time

import torch
from torch.nn import functional as F

from nlphub.nn.config import EncoderConfig

_SIZE, _REPEATS = 1536, 20  # of the square matrices that are timed: 7 gigaflop each, a second or two in all on two CPU cores


def token_flops(config: EncoderConfig, *, length: float, predicted: float) -> float:
    """Operations of one token, forward and backward: three times those of the forward pass (Kaplan et al., 2020, arXiv:2001.08361).

    Args:
        config: of the encoder.
        length: s, mean tokens of a sequence.
        predicted: share of tokens that go through the masked-LM head.
    """
    layer = 2 * config.width * (4 * config.width + 2 * config.inner) + 4 * length * config.width
    head = 2 * config.width * (config.width + config.vocab)
    return 3 * (config.layers * layer + predicted * head)


def matrix_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second that a product of large square matrices reaches here and now: the best of a few."""
    left, right = (torch.randn(_SIZE, _SIZE, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(_REPEATS):
        _wait(device)
        started = time.perf_counter()
        F.linear(left, right)  # as layers do it; other layouts are slower on some machines
        _wait(device)
        best = min(best, time.perf_counter() - started)
    return 2 * _SIZE**3 / best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
