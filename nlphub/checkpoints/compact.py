"""Weights stored small for shipping: as int8 rows with a scale each, or as fp16. They are expanded to float32 when they are read.

A file says which form it has in its metadata, under ``form``; one without that key holds plain float tensors, and nothing is guessed.

* ``int8``: a matrix ``name`` is ``(r, c)`` int8 and ``name.scale`` is ``(r,)`` float32, and stands for ``int8 * scale``. The scale of a
  row is its largest magnitude / 127 (symmetric, as the per-channel weights of Wu et al., 2020, "Integer Quantization for Deep Learning
  Inference", section 3), so no value is off by more than half a scale. All else (biases, norms) stays float32.
* ``fp16``: matrices are half precision, all else stays float32.

Notation: ``r`` rows and ``c`` columns of a matrix.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from nlphub.errors import InputError, WeightsError

KEY = "form"  # of the metadata
FORMS = ("fp32", "fp16", "int8")

Shape = tuple[int, ...]
Stored = dict[str, tuple[Shape, torch.dtype | None]]  # shape, and dtype where the form decides it

_SCALE, _LEVELS = ".scale", 127
_MATRIX = {"fp16": torch.float16, "int8": torch.int8}
_PLAIN = frozenset((torch.float32, torch.float16, torch.bfloat16))  # that weights of others may have


def compact(tensors: Mapping[str, Tensor], form: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """What a file of this form holds, and its metadata. Equal tensors give equal results, bit by bit, on every device.

    Args:
        tensors: by name; ``fp32`` keeps them as they are.
        form: ``fp32``, ``fp16`` or ``int8``.

    Raises:
        InputError: there is no such form.
        WeightsError: values that are not finite, or too large for the form; all names at once.
    """
    if form not in FORMS:
        raise InputError(f"form={form!r} is none in which weights are stored; there are {', '.join(FORMS)}")
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    if form == "fp32":
        return plain, {"format": "pt"}
    stored = {name: part for own, tensor in plain.items() for name, part in _parts(own, tensor.float(), form).items()}
    if wild := sorted(name for name, tensor in stored.items() if not _is_finite(tensor)):
        raise WeightsError(
            f"These weights cannot be stored as {form}: values that are not finite, or too large for it, in {', '.join(wild)}"
        )
    return stored, {KEY: form}


def expand(found: Mapping[str, Tensor], expected: Mapping[str, Shape], form: str | None) -> dict[str, Tensor]:
    """The tensors ``expected`` from what a file of this form holds; float32 unless the file is plain.

    Args:
        found: every name of :func:`layout`.
    """
    if form is None:
        return {name: found[name] for name in expected}
    return {name: _whole(found, name) for name in expected}


def layout(expected: Mapping[str, Shape], form: str | None) -> Stored:
    """Names, shapes and dtypes that a file of this form has to have for these tensors."""
    if form is None:
        return {name: (shape, None) for name, shape in expected.items()}
    stored: Stored = {}
    for name, shape in expected.items():
        stored[name] = (shape, _MATRIX[form] if len(shape) == 2 else torch.float32)
        if form == "int8" and len(shape) == 2:
            stored[name + _SCALE] = (shape[:1], torch.float32)
    return stored


def dtypes(form: str | None) -> frozenset[torch.dtype]:
    """The dtypes that tensors of such a file may have."""
    return _PLAIN if form is None else frozenset((torch.float32, _MATRIX[form]))


def form_of(metadata: Mapping[str, str]) -> str | None:
    """The form that a file's metadata name, ``None`` for plain tensors.

    Raises:
        ValueError: a form that this version does not read.
    """
    form = metadata.get(KEY)
    if form is not None and form not in _MATRIX:
        raise ValueError(f"its form is {form[:40]!r}, and this version of nlphub reads {', '.join(_MATRIX)} and plain tensors")
    return form


def _parts(name: str, tensor: Tensor, form: str) -> dict[str, Tensor]:
    if tensor.ndim != 2:
        return {name: tensor}
    if form == "fp16":
        return {name: tensor.half()}
    scale = tensor.abs().amax(dim=1) / _LEVELS if tensor.numel() else torch.zeros(len(tensor))
    steps = tensor / torch.where(scale > 0, scale, 1.0)[:, None]  # a row of zeros, or of nearly nothing, is stored as zeros
    return {name: steps.round().clamp(-_LEVELS, _LEVELS).to(torch.int8), name + _SCALE: scale}


def _whole(found: Mapping[str, Tensor], name: str) -> Tensor:
    scale = found.get(name + _SCALE)
    if scale is None:
        return found[name].float()
    if not (_is_finite(scale) and bool((scale >= 0).all())):
        raise ValueError(f"the scales of {name} are not all finite and at least 0")
    return found[name].float() * scale[:, None]


def _is_finite(tensor: Tensor) -> bool:
    return bool(tensor.isfinite().all())
