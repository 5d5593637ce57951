"""Queries, keys and values that are columns of one tensor, as that tensor."""

import torch
from torch import Tensor


def joined(*parts: Tensor) -> Tensor:
    """The tensor ``(r, sum of widths)`` whose neighbouring columns ``parts`` are; a copy where they are not.

    Autograd sends gradients to the tensor itself, then, and need not put three of them together again.
    """
    first, width = parts[0], sum(part.shape[1] for part in parts)
    base, place = first._base, first.storage_offset()
    for part in parts:
        if part.stride() != (width, 1) or part.storage_offset() != place or part.dtype != first.dtype or not _same_memory(part, first):
            return torch.cat(parts, dim=1)
        place += part.shape[1]
    if not any(part.requires_grad for part in parts):
        return first.detach().as_strided((len(first), width), (width, 1))
    if base is None or base.shape != (len(first), width) or base.storage_offset() != first.storage_offset():
        return torch.cat(parts, dim=1)
    return base if all(part._base is base and part.requires_grad for part in parts) else torch.cat(parts, dim=1)


def _same_memory(one: Tensor, other: Tensor) -> bool:
    return bool(one.untyped_storage()._cdata == other.untyped_storage()._cdata)
