"""Fresh weights from a seed, the same wherever and in whatever order networks are made."""

import torch
from torch import nn

_STD = 0.02  # BERT's and ERNIE's


@torch.no_grad()
def initialise(module: nn.Module, seed: int) -> None:
    """Fill every parameter: matrices from a normal distribution of mean 0 and deviation 0.02, norms with 1 and 0, biases with 0.

    A generator of its own on the CPU draws them in the order of their names, so neither torch's global state nor the device matters.

    Args:
        module: an encoder or a head, not on the meta device.
        seed: decides all values.
    """
    generator = torch.Generator().manual_seed(seed)
    norms = {f"{name}.weight" for name, part in module.named_modules() if isinstance(part, nn.LayerNorm)}
    for name, parameter in sorted(module.named_parameters()):
        if parameter.ndim > 1:
            parameter.copy_(torch.empty(parameter.shape).normal_(0.0, _STD, generator=generator))
        else:
            parameter.fill_(1.0 if name in norms else 0.0)
