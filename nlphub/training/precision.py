"""The type of matrix products in training. Weights, moments, norms, softmax and losses are float32 whatever it is."""

import logging
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

log = logging.getLogger(__name__)


def precision(wanted: str, device: torch.device) -> torch.dtype:
    """The type of matrix products on a device.

    Args:
        wanted: ``bf16``, ``fp32``, or ``auto``: bfloat16 on a GPU, float32 on a CPU.
        device: of the weights.
    """
    if wanted == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if wanted == "bf16" and device.type == "cpu" and not has_fast_bf16():
        log.warning("this processor has no bfloat16 instructions: precision=fp32 is faster here")
    return {"bf16": torch.bfloat16, "fp32": torch.float32}[wanted]


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[Any]:
    """Matrix products in ``dtype`` for as long as the block lasts."""
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype=dtype)


def has_fast_bf16() -> bool:
    """Whether this processor multiplies bfloat16 numbers in hardware (AVX-512 BF16, AMX or Arm BF16): about twice as fast as float32."""
    features = torch.cpu.get_capabilities()
    return any(features.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
