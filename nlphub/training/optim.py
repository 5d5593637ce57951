"""What the optimizer sees: parameter groups with weight decay and layer-wise learning rates, and the schedule.

The schedule is a pure function of the step, so a resumed run needs no scheduler state.
"""

import math
import re
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from nlphub.errors import InputError

_BLOCK = re.compile(r"encoder\.blocks\.(\d+)\.")


def parameter_groups(
    module: nn.Module, *, learning_rate: float, weight_decay: float = 0.01, layer_decay: float = 1.0
) -> list[dict[str, Any]]:
    """Groups for ``torch.optim.AdamW``: biases and norms without decay, lower layers with smaller rates.

    Args:
        module: a :class:`nlphub.Module`, or anything with the parameter names ``encoder.blocks.<i>.*`` and ``head.*``.
        learning_rate: the rate of the head; a parameter ``k`` layers below it gets ``learning_rate * layer_decay ** k``
            (Howard and Ruder, 2018; Clark et al., 2020, ELECTRA).
        weight_decay: decoupled decay of matrices and embeddings.
        layer_decay: 0 < layer_decay <= 1; 1 gives all layers the same rate.

    Raises:
        InputError: ``layer_decay`` is outside its range.
    """
    if not 0 < layer_decay <= 1:
        raise InputError(f"layer_decay={layer_decay} must be above 0 and at most 1")
    named = [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
    depth = 1 + max((int(found[1]) + 1 for name, _ in named if (found := _BLOCK.match(name))), default=0)
    groups: dict[tuple[int, float], list[nn.Parameter]] = {}
    for name, parameter in named:
        decay = weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((_level(name, depth), decay), []).append(parameter)
    return [
        {"params": parameters, "lr": learning_rate * layer_decay ** (depth - level), "weight_decay": decay}
        for (level, decay), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


def schedule(step: int, *, total: int, warmup: float, shape: str) -> float:
    """The factor of the learning rate at optimizer step ``step`` of ``total`` (counted from 0).

    Args:
        warmup: share of all steps in which the factor rises linearly from near 0 to 1.
        shape: ``linear`` (to 0), ``cosine`` (to 0) or ``constant`` afterwards.
    """
    rise = math.ceil(warmup * total)
    if step < rise:
        return (step + 1) / (rise + 1)
    progress = (step - rise) / max(1, total - rise)
    return {"linear": 1 - progress, "cosine": 0.5 * (1 + math.cos(math.pi * progress)), "constant": 1.0}[shape]


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> float:
    """Multiply every group's initial rate by ``factor``; returns the largest rate now in force."""
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
        group["lr"] = group["initial_lr"] * factor
    return max(float(group["lr"]) for group in optimizer.param_groups)


def join(optimizer: torch.optim.Optimizer, parameters: Iterable[nn.Parameter]) -> None:
    """Add parameters that the optimizer does not hold yet, e.g. of a head made at the first fit, with its first group's options.

    Raises:
        InputError: the optimizer was made for another module: it would train nothing here.
    """
    parameters = list(parameters)
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if held.isdisjoint(map(id, parameters)):
        raise InputError("This optimizer holds no parameter of this module; make it anew: torch.optim.AdamW(module.parameters(), lr=...)")
    new = [parameter for parameter in parameters if id(parameter) not in held]
    if new:
        first = optimizer.param_groups[0]
        rate = {"lr": first.get("initial_lr", first["lr"])}
        optimizer.add_param_group(
            {**{key: value for key, value in first.items() if key not in ("params", "initial_lr")}, **rate, "params": new}
        )


def _level(name: str, depth: int) -> int:
    found = _BLOCK.match(name)
    if found:
        return int(found[1]) + 1
    return 0 if name.startswith("encoder.embeddings.") else depth
