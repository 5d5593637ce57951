"""Whether a candidate works: a small problem, forward and backward, beside the reference on the same device.

What a library says of itself (versions, capabilities) is not asked: the first use of a kernel happens here, so that a compiler that is
missing or a card that lacks an instruction shows before a training depends on it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nlphub.errors import brief
from nlphub.kernels import reference
from nlphub.kernels.layout import BUCKETS, Layout, Run
from nlphub.kernels.reference import Dropout

_LONG = 300  # tokens, above the last bucket
_PROBABILITY = 0.25
_TOLERANCE = {torch.float32: 0.02, torch.float16: 0.05, torch.bfloat16: 0.3}  # of values of about 1: a fault, not a rounding


class Case(NamedTuple):
    """What a choice depends on.

    Attributes:
        device: its kind, e.g. ``cuda``.
        dtype: of what is computed.
        width: of a head for attention, of a row for the other operations.
        dropout: whether there is any.
        bucket: of :data:`nlphub.kernels.layout.BUCKETS`, that of the longest sequence; 0 above the last, and for operations on rows.
    """

    device: str
    dtype: torch.dtype
    width: int
    dropout: bool
    bucket: int = 0


def fault(operation: str, function: Callable[..., Tensor], case: Case, *, own_masks: bool = False) -> str | None:
    """What is wrong with ``function`` as ``operation``, in a few words; nothing when it works.

    Args:
        own_masks: its dropout is not that of the reference, so it is compared without.
    """
    probability = 0.0 if own_masks else _PROBABILITY
    try:
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(case.device, enabled=False):
            found = _results(operation, function, case, probability)
            expected = _results(operation, getattr(reference, operation), case._replace(dtype=torch.float32), probability)
            off = [(one.detach().float() - other.detach()).abs().max() for one, other in zip(found, expected, strict=True)]
            worst = float(torch.stack(off).max())  # nan if one of them is
    except Exception as error:  # whatever a compiler or a driver raises: that candidate is not used
        return f"{type(error).__name__}: {brief(str(error).strip().partition(chr(10))[0])}"
    return None if worst <= _TOLERANCE.get(case.dtype, 0.02) else f"its results are off by {worst:.2g}"


def _results(operation: str, function: Callable[..., Tensor], case: Case, probability: float) -> list[Tensor]:
    """The result and the gradients of all inputs."""
    if operation == "row_keys":
        numbers = torch.arange(300, device=case.device)
        return [function(2**40 + 3, 9, 2, numbers // 7, numbers % 7)]
    if operation == "adamw_":
        buffers = [_wave(999, case=case._replace(dtype=torch.float32), phase=phase).square() for phase in range(4)]
        function(*buffers, rate=0.1, beta1=0.9, beta2=0.99, eps=1e-8, decay=0.01, step=2, scale=0.5)
        return buffers
    if operation == "adamw_all_":
        return _each(function, case)
    if operation == "attention":
        inputs, call = _attention(function, case, probability)
    else:
        inputs, call = _rows(operation, function, case, probability)
    out = call(*inputs)
    slope = _wave(*out.shape, case=case, phase=7)
    return [out, *torch.autograd.grad((out * slope).sum(), inputs)]


def _each(function: Callable[..., Any], case: Case) -> list[Tensor]:
    """Buffers of some sizes, and copies, after a step, and after one that was halted."""
    shapes, single = [(3, 5), (64, 48), (1,)], case._replace(dtype=torch.float32)
    parts = [[_wave(*shape, case=single, phase=phase).square() for shape in shapes] for phase in range(4)]
    copies = [torch.zeros(shape, dtype=torch.bfloat16, device=case.device) for shape in shapes]
    one = torch.ones((), device=case.device)
    given: dict[str, Any] = {"steps": [one * 2, one * 3, one * 2], "rate": one * 0.1, "divisor": one * 2, "copies": copies}
    for halted in (one * 0, one):
        function(*parts, **given, halted=halted, beta1=0.9, beta2=0.99, eps=1e-8, decay=0.01)
    return [*parts[0], *parts[2], *parts[3], *copies]


def _attention(function: Callable[..., Tensor], case: Case, probability: float) -> tuple[list[Tensor], Callable[..., Tensor]]:
    lengths = [limit for limit in BUCKETS if limit <= case.bucket] or [3, _LONG]  # a kernel for each bucket
    runs = [Run(sum(lengths[:number]), number, 1, length) for number, length in enumerate(lengths)]
    layout, heads = Layout(tuple(runs)), 2
    width = heads * case.width
    dropped = _dropped(sum(lengths), case, probability)
    fused = _wave(sum(lengths), 3 * width, case=case, phase=1).requires_grad_()
    return [fused], lambda rows: function(*(rows * 1.0).chunk(3, 1), layout, heads=heads, dropped=dropped)


def _rows(operation: str, function: Callable[..., Tensor], case: Case, probability: float) -> tuple[list[Tensor], Callable[..., Tensor]]:
    shapes: dict[str, list[tuple[int, ...]]] = {
        "add_norm": [(9, case.width)] * 2 + [(case.width,)] * 3,
        "bias_gelu": [(9, case.width), (case.width,)],
        "dropout": [(9, case.width)],
    }
    inputs = [_wave(*shape, case=case, phase=phase).requires_grad_() for phase, shape in enumerate(shapes[operation])]
    options: dict[str, Any] = {} if operation == "bias_gelu" else {"dropped": _dropped(9, case, probability)}
    if operation == "add_norm":
        options["eps"] = 1e-5
        return inputs, lambda *given: function(*given[:4], **options, shift=given[4])  # without a shift it is a part of that
    return inputs, lambda first, *rest: function(first * 1.0, *rest, **options)  # the first input may be overwritten


def _dropped(rows: int, case: Case, probability: float) -> Dropout | None:
    if not case.dropout:
        return None
    numbers = torch.arange(rows, device=case.device)
    return Dropout(probability, reference.row_keys(1, 0, 0, numbers, numbers))


def _wave(*shape: int, case: Case, phase: int) -> Tensor:
    """Values between -1 and 1 without a generator, whose state a training may want to keep."""
    count = int(torch.Size(shape).numel())
    return torch.sin(torch.arange(count, device=case.device, dtype=torch.float32) * 0.7 + phase).view(shape).to(case.dtype)


def bucket(longest: int) -> int:
    """The bucket of a batch: that of its longest sequence; 0 above the last."""
    return next((limit for limit in BUCKETS if longest <= limit), 0)
