"""N-grams of token ids inside a network: one number for each, and where it stands in a sorted list. Plain tensor operations that export.

An n-gram is one to three neighbouring tokens of a text; [CLS] and [SEP] belong to none.
Notation: ``t`` tokens of a packed batch, ``b`` sequences, ``s`` the longest of them, ``m`` known n-grams.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from nlphub.data.batching import Packed

ORDERS = 3  # the longest n-gram
LARGEST_ID = (1 << 20) - 1  # the keys of three ids have to stay below 2 ** 62, each with room for "none"
_BASE = 1 << 21
_NEVER = 1 << 62  # larger than every key, and exact as a float, which the exporter makes of it


def packed_grams(packed: Packed[Tensor]) -> Tensor:
    """``(t, 3)`` int64: the keys of the 1-, 2- and 3-gram that begin at each token; -1 where there is none."""
    lengths = packed.lengths.to(packed.ids.device)
    left = torch.repeat_interleave(lengths, lengths) - 1 - packed.positions
    return _grams(packed.ids, _shifted(packed.ids, 1), _shifted(packed.ids, 2), packed.positions, left)


def dense_grams(input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """``(b, s, 3)`` int64: as :func:`packed_grams`, of padded ids ``(b, s)``."""
    positions = torch.arange(input_ids.shape[1], device=input_ids.device)[None, :]
    left = attention_mask.sum(1, keepdim=True) - 1 - positions
    return _grams(input_ids, _shifted(input_ids, 1), _shifted(input_ids, 2), positions, left)


def keys_of(grams: Tensor) -> Tensor:
    """``(m,)`` int64 keys of n-grams ``(m, 3)``: the first id, and the others plus one, or 0 where the n-gram has ended."""
    first, second, third = grams.to(torch.int64).unbind(1)
    return (first * _BASE + second) * _BASE + third


def grams_of(keys: Tensor) -> Tensor:
    """``(m, 3)`` int64: what :func:`keys_of` makes ``keys`` of."""
    return torch.stack([keys // (_BASE * _BASE), keys // _BASE % _BASE, keys % _BASE], dim=1)


def find(keys: Tensor, wanted: Tensor) -> Tensor:
    """Where each wanted key stands among ``keys``, int64 of the shape of ``wanted``; ``m`` for those that are not there.

    A binary search, since ``torch.searchsorted`` has no ONNX operator.

    Args:
        keys: ``(m,)`` int64, ascending, at least one.
    """
    steps = len(keys).bit_length()
    ladder = F.pad(keys, (1, (1 << steps) - len(keys) - 1), value=_NEVER)  # a power of two, so that no probe needs a check
    below = torch.zeros_like(wanted)  # how many keys are known to be at most the wanted one
    for step in reversed(range(steps)):
        probe = below + (1 << step)
        below = torch.where(ladder[probe] <= wanted, probe, below)
    return torch.where((below > 0) & (ladder[below] == wanted), below - 1, len(keys))


def _grams(first: Tensor, second: Tensor, third: Tensor, positions: Tensor, left: Tensor) -> Tensor:
    """Keys, where so many tokens are ``left`` of the text, this one included."""
    one = first * _BASE * _BASE
    two = one + (second + 1) * _BASE
    keys = torch.stack([one, two, two + third + 1], dim=-1)
    orders = torch.arange(1, ORDERS + 1, device=first.device)
    there = (positions[..., None] >= 1) & (left[..., None] >= orders)
    return torch.where(there, keys, -1)


def _shifted(ids: Tensor, by: int) -> Tensor:
    """``ids``, each in the place of the one that stands ``by`` before it; what runs over the end is never asked for."""
    return torch.cat([ids[..., by:], torch.zeros_like(ids[..., :by])], dim=-1)
