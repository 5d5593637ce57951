"""In one pass against in several: the bias before a norm, and the step of the optimizer with its low-precision copies."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from gpu_parts import clock
from gpu_parts.facts import Found, Row, Setting, fault, short
from gpu_parts.rows import other_rows
from gpu_parts.work import Load, module_of
from nlphub.kernels import adamw, operators

_TOKENS = 16384
_MOVED = 30  # bytes of a number in a step: weight, gradient and two moments read, all but the gradient and a copy of 2 bytes written


def seams(setting: Setting) -> Found:
    """Milliseconds of each way, ours in one pass and torch's kernels one after the other."""
    found = Found()
    for network, width, inner in (("4x312", 312, 1248), ("6x768", 768, 3072)):
        found.rows.extend(_compared(f"{network}: product, bias and norm, forward and backward", _norms(width, inner, setting), setting))
        found.rows.extend(_compared(f"{network}: step of AdamW with copies", _updates(network, setting), setting))
        if setting.dry:
            break
    return found


def _compared(name: str, ways: Iterator[tuple[str, Callable[[], object], float | None]], setting: Setting) -> Iterator[Row]:
    for way, work, floor in ways:
        try:
            taken = clock.kernel(work, setting)
        except Exception as error:  # of a compiler or a driver: a finding
            yield Row("seams", f"{name}: {way}", {}, fault(error))
            continue
        figures: dict[str, float | int | str] = {"ms": short(taken)}
        yield Row("seams", f"{name}: {way}", figures | ({} if floor is None else {"floor ms": short(floor)}))


def _norms(width: int, inner: int, setting: Setting) -> Iterator[tuple[str, Callable[[], object], float | None]]:
    """The last product of a layer and what follows it, with its bias added here or there."""
    rows = other_rows("add_norm", 40 if setting.dry else _TOKENS, width, setting)
    *given, bias = rows.parts
    made = other_rows("dropout", len(given[0]), inner, setting).parts[0]
    weight = (torch.ones(width, inner, device=setting.device) / inner).to(setting.dtype).requires_grad_()

    def passed(*, apart: bool) -> tuple[Tensor, ...]:
        product = torch.nn.functional.linear(made, weight, None if apart else bias)
        out = operators.add_norm(product, *given[1:], **rows.options, shift=bias if apart else None)
        return torch.autograd.grad(out, (made, weight, *given[1:], bias), rows.grad)

    yield "bias with the norm", lambda: passed(apart=True), None
    yield "bias with the product", lambda: passed(apart=False), None


def _updates(network: str, setting: Setting) -> Iterator[tuple[str, Callable[[], object], float | None]]:
    weights = [one.detach() for one in module_of(Load(network, "mean 20", 4), setting).parameters()]
    copies = [one.to(setting.dtype) for one in weights]
    gradients, first, second = ([torch.full_like(one, value) for one in weights] for value in (1e-3, 0.0, 1e-6))
    one = torch.ones((), device=setting.device)
    options: dict[str, Any] = {
        "rate": one * 1e-5,
        "halted": one * 0,
        "divisor": one,
        "beta1": 0.9,
        "beta2": 0.999,
        "eps": 1e-8,
        "decay": 0.01,
    }
    options |= {"steps": [one.clone() for _ in weights], "copies": copies}
    floor = sum(weight.numel() for weight in weights) * _MOVED / setting.peaks.bytes * 1000.0
    for way, module in (("in one pass", operators), ("torch's kernels", adamw)):
        function = module.plain_all_ if module is adamw else module.adamw_all_
        yield way, lambda function=function: function(weights, gradients, first, second, **options), floor
