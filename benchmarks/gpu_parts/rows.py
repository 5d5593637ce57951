"""Single operations on packed rows: random inputs, every route there is, outputs and gradients."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpu_parts.facts import Setting
from nlphub.data.batching import pack
from nlphub.kernels import Dropout, Layout, dispatch, probes, reference
from nlphub.kernels.probes import Case
from nlphub.nn.encoder import to_tensors
from nlphub.text.encoding import Encoded

PROBABILITY = 0.1
Function = Callable[..., Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Random inputs of an operation.

    Attributes:
        operation: e.g. ``attention``.
        parts: tensors in bfloat16, leaves of autograd.
        grad: of the result.
        options: further arguments.
        case: for dispatch.
    """

    operation: str
    parts: tuple[Tensor, ...]
    grad: Tensor
    options: dict[str, Any]
    case: Case

    def run(self, function: Function, *, dtype: torch.dtype | None = None) -> list[Tensor]:
        """The result and all gradients; computed in ``dtype``, of the same rounded inputs."""
        parts = [part.detach().to(dtype or part.dtype).requires_grad_() for part in self.parts]
        given = [part.clone() for part in parts] if self.operation == "bias_gelu" else self._split(parts)
        shift = {"shift": given.pop()} if self.operation == "add_norm" else {}
        out = function(*given, **shift, **self.options)
        return [out.detach(), *torch.autograd.grad(out, parts, self.grad.to(out.dtype))]

    def _split(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """Attention gets the columns of one product, as the encoder passes them."""
        if self.operation != "attention":
            return list(parts)
        return [*parts[0].chunk(3, 1)] if len(parts) == 1 else [parts[0], *parts[1].chunk(2, 1)]


def layout_of(lengths: Sequence[int], device: torch.device) -> Layout:
    """Of sequences of these lengths."""
    total = int(sum(lengths))
    encoded = Encoded(
        ids=np.zeros(total, np.int64), types=np.zeros(total, np.int64), offsets=np.zeros((total, 2), np.int64),
        starts=np.append(0, np.cumsum(lengths)).astype(np.int64), truncated=np.zeros(len(lengths), np.bool_),
    )  # fmt: skip
    return Layout.of(to_tensors(pack(encoded, np.arange(len(lengths))), device))


def attention_rows(lengths: Sequence[int], setting: Setting, *, heads: int, width: int, dropout: bool, single: bool = False) -> Rows:
    """Inputs of attention: columns of one product of queries, keys and values, or one query a sequence."""
    generator = torch.Generator(setting.device).manual_seed(0)
    tokens, d, asked = int(sum(lengths)), heads * width, len(lengths) if single else int(sum(lengths))
    shapes = [(asked, d), (tokens, 2 * d)] if single else [(tokens, 3 * d)]
    parts = tuple(_random(shape, setting, generator).requires_grad_() for shape in shapes)
    layout = layout_of(lengths, setting.device)
    dropped = Dropout(PROBABILITY, _keys(asked, setting, generator)) if dropout else None
    case = Case(setting.device.type, setting.dtype, width, dropout, probes.bucket(layout.longest))
    options = {"layout": layout, "heads": heads, "dropped": dropped}
    return Rows("attention", parts, _random((asked, d), setting, generator), options, case)


def other_rows(operation: str, rows: int, width: int, setting: Setting) -> Rows:
    """Inputs of ``add_norm``, ``bias_gelu`` or ``dropout``."""
    generator = torch.Generator(setting.device).manual_seed(1)
    dropped = Dropout(PROBABILITY, _keys(rows, setting, generator))
    shapes, options = {
        "add_norm": ([(rows, width), (rows, width), (width,), (width,), (width,)], {"eps": 1e-5, "dropped": dropped}),
        "bias_gelu": ([(rows, width), (width,)], {"activation": "gelu"}),
        "dropout": ([(rows, width)], {"dropped": dropped}),
    }[operation]
    parts = tuple(_random(shape, setting, generator).requires_grad_() for shape in shapes)
    case = Case(setting.device.type, setting.dtype, width, operation in ("add_norm", "dropout"))
    return Rows(operation, parts, _random((rows, width), setting, generator), options, case)


def functions(rows: Rows, *, own_masks: bool = False) -> Iterator[tuple[str, Function | None, str]]:
    """Every route of the operation: name, function (``None`` where it is not for this case), why not.

    Args:
        own_masks: also those whose dropout masks are not the shared hash.
    """
    if rows.case.device != "cuda":
        from nlphub.kernels import cpu, operators

        yield "operators", getattr(operators, rows.operation), ""
        yield "torch", getattr(cpu, rows.operation), ""
        return
    for candidate in dispatch.candidates(rows.operation):
        why = (dispatch.no_triton_here(rows.case.device) if candidate.family == "triton" else None) or candidate.unfit(rows.case)
        if not why and candidate.own_masks and rows.case.dropout and not own_masks:
            why = "its masks are its own"
        yield candidate.name, None if why else candidate.load(rows.operation), why or ""


def expected(rows: Rows) -> list[Tensor]:
    """The definition, in float32, of the same rounded inputs."""
    return rows.run(getattr(reference, rows.operation), dtype=torch.float32)


def _random(shape: tuple[int, ...], setting: Setting, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, device=setting.device, generator=generator).to(setting.dtype)


def _keys(rows: int, setting: Setting, generator: torch.Generator) -> Tensor:
    return torch.randint(-(2**31), 2**31, (rows,), device=setting.device, generator=generator).to(torch.int32)
