"""``token-cls`` by pairs of a first and a last token (GlobalPointer): see :mod:`nlphub.tasks.pointing` for what is computed of them.

Notation: ``t`` packed tokens, ``b`` texts, ``s`` tokens of one text, ``k`` width of q and k, ``n`` labels of spans.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from nlphub.data.batching import Packed
from nlphub.nn.heads import TokenHead
from nlphub.tasks.base import IGNORED
from nlphub.tasks.pointing import INNER, rotations

POINTER, VERSION = "pointer", 1
_KEPT = 1 << 22  # scores of a text that are kept for the way back; those of a larger one are computed again, one text at a time


class PointerHead(TokenHead):
    """A row of ``2k + 2n`` numbers for each token: q, k, and scores of starts and of ends.

    Args:
        labels: ``2k + 2n``.
    """

    @property
    def form(self) -> dict[str, Any]:
        """As it stands in config.json."""
        return {"kind": POINTER, "version": VERSION}

    def loss(self, logits: Tensor, targets: Any, *, packed: Packed[Tensor] | None = None, **options: Any) -> Tensor:
        """``(b,)`` float32, also under autocast: for each label ``log(1 + sum exp(s))`` of the pairs that are no spans plus
        ``log(1 + sum exp(-s))`` of those that are (Su et al., 2022, arXiv:2208.02955), and their mean over the labels.

        Args:
            logits: ``(t, 2k + 2n)``.
            targets: of :meth:`nlphub.tasks.pointing.Pointing.targets`, as tensors.
            packed: the batch.
            options: none.
        """
        if options:
            raise TypeError(f"the loss of a pointer has no {', '.join(options)}")
        if packed is None:
            raise TypeError("a pointer's loss needs the packed batch too: head.loss(logits, targets, packed=packed)")
        with torch.autocast(logits.device.type, enabled=False):
            return torch.stack([*self._losses(logits.float(), targets[1], packed)])

    def _losses(self, logits: Tensor, codes: Tensor, packed: Packed[Tensor]) -> Iterator[Tensor]:
        labels = self.labels // 2 - INNER
        for start, length in zip(packed.starts.tolist(), packed.lengths.tolist(), strict=True):
            rows, spans = logits[start + 1 : start + length - 1], codes[start + 1 : start + length - 1]
            if not len(rows):
                yield logits.sum() * 0.0
            elif labels * len(rows) ** 2 > _KEPT and torch.is_grad_enabled():
                yield checkpoint(text_loss, rows, spans, INNER, use_reentrant=False, preserve_rng_state=False)
            else:
                yield text_loss(rows, spans, INNER)


def text_loss(rows: Tensor, codes: Tensor, inner: int) -> Tensor:
    """The loss of one text.

    Args:
        rows: ``(s, 2k + 2n)``, without [CLS] and [SEP].
        codes: ``(s, m)`` int64: ``last * n + label`` of the spans that begin with a token, or -100.
    """
    scores = pair_scores(rows, inner)
    labels, length, _ = scores.shape
    right = torch.zeros(scores.shape, dtype=torch.bool, device=scores.device)
    first, place = torch.nonzero(codes != IGNORED, as_tuple=True)
    code = codes[first, place]
    right[code % labels, first, code // labels] = True
    apart = torch.ones(length, length, dtype=torch.bool, device=scores.device).tril(-1)
    wrong = _log_one_more(scores.masked_fill(right | apart, -torch.inf))
    return (wrong + _log_one_more((-scores).masked_fill(~right, -torch.inf))).mean()


def pair_scores(rows: Tensor, inner: int) -> Tensor:
    """``(n, s, s)`` of one text's rows: ``[x, i, j]`` is the score of label x from token i to token j."""
    turns = [torch.from_numpy(part).to(rows) for part in rotations(len(rows), inner)]
    query, key = (_rotated(rows[:, side * inner : (side + 1) * inner], *turns) for side in (0, 1))
    starts, ends = rows[:, 2 * inner :].T.chunk(2)
    return query @ key.T / math.sqrt(inner) + starts[:, :, None] + ends[:, None, :]


def _rotated(vectors: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    even, odd = vectors[:, ::2], vectors[:, 1::2]
    return torch.stack([even * cosines - odd * sines, odd * cosines + even * sines], dim=-1).flatten(1)


def _log_one_more(scores: Tensor) -> Tensor:
    """``(n,)``: log(1 + sum of exponentials) of each label's scores ``(n, s, s)``."""
    flat = scores.flatten(1)
    return torch.cat([flat.new_zeros(len(flat), 1), flat], dim=1).logsumexp(1)
