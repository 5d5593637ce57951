"""``token-cls`` with a linear-chain CRF (Lafferty, McCallum and Pereira, 2001): the right tags against all other paths of tags in order.

Notation: ``t`` packed tokens, ``c`` chains (texts with a token), ``n`` tags.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nlphub.data.batching import Packed
from nlphub.nn.heads import TokenHead
from nlphub.tasks.base import IGNORED
from nlphub.tasks.viterbi import allowed

CRF, VERSION = "crf", 1
PACE = 30.0  # transitions are stored divided by it: Adam's steps are of the size of the rate, and rates of encoders would hardly move them


class ChainHead(TokenHead):
    """Tags of all tokens, and scores of neighbouring tags.

    The transitions begin with 0, where the loss is that of the linear head, but for tags out of order, which are impossible here. They
    are vectors, so there is no weight decay on them.
    """

    def __init__(self, width: int, labels: int, *, dropout: float = 0.1) -> None:
        super().__init__(width, labels, dropout=dropout)
        self.pairs = nn.Parameter(torch.zeros(labels * labels))
        self.edges = nn.Parameter(torch.zeros(2 * labels))

    @property
    def form(self) -> dict[str, Any]:
        """As it stands in config.json."""
        return {"kind": CRF, "version": VERSION}

    @property
    def decoding(self) -> dict[str, Any]:
        """The transitions as lists, see :class:`nlphub.tasks.viterbi.Transitions`."""
        pairs, first, last = (part.detach().double().tolist() for part in self.transitions())
        return {"pairs": pairs, "first": first, "last": last}

    def transitions(self) -> tuple[Tensor, Tensor, Tensor]:
        """``(n, n)`` scores of the second tag behind the first, ``(n,)`` of the first tag of a text, ``(n,)`` of the last; float32."""
        first, last = (PACE * self.edges.float()).view(2, self.labels)
        return (PACE * self.pairs.float()).view(self.labels, self.labels), first, last

    def loss(self, logits: Tensor, targets: Tensor, *, packed: Packed[Tensor] | None = None, **options: Any) -> Tensor:
        """``(t,)`` float32, also under autocast: minus the log-likelihood of each text's tags, shared out equally among its tokens.

        So its mean over tokens is what the linear head's is: the same learning rates fit both. Texts are told apart by their special
        tokens, which have no target.

        Args:
            logits: ``(t, n)``.
            targets: ``(t,)`` int64 numbers of the right tags, in order; -100 for tokens without one.
            packed: unused.
            options: none.
        """
        if options:
            raise TypeError(f"the loss of a CRF has no {', '.join(options)}")
        with torch.autocast(logits.device.type, enabled=False):
            return chain_losses(logits.float(), targets, *self.transitions())


def chain_losses(scores: Tensor, targets: Tensor, pairs: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """``(t,)`` minus the log-likelihood of each chain of targets, divided by its length; 0 for rows without a target.

    All chains go forward together, the longest first, so that those that have ended are left out: no chain is padded.

    Args:
        scores: ``(t, n)``; a chain is a run of rows with targets.
        targets: ``(t,)`` int64.
        pairs, first, last: as :meth:`ChainHead.transitions` gives them; those out of order count as minus infinity.
    """
    starts, lengths = _chains(targets)
    if not len(starts):
        return scores.sum(1) * 0.0
    follows, begins = (torch.from_numpy(flags).to(scores.device) for flags in allowed(scores.shape[1]))
    pairs, first = pairs.masked_fill(~follows, -torch.inf), first.masked_fill(~begins, -torch.inf)
    order = torch.argsort(lengths, descending=True, stable=True)
    starts, lengths = starts[order], lengths[order]
    total = _total(scores, starts, lengths, pairs, first, last)
    each = (total - _path(scores, targets, starts, lengths, pairs, first, last)) / lengths
    losses = scores.new_zeros(len(scores))
    rows = torch.repeat_interleave(starts, lengths) + _places(lengths)
    return losses.index_put((rows,), torch.repeat_interleave(each, lengths))


def _total(scores: Tensor, starts: Tensor, lengths: Tensor, pairs: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """``(c,)`` log-sums over all paths of chains that are sorted by length, the longest first."""
    alive = (lengths[None, :] > torch.arange(int(lengths[0]), device=lengths.device)[:, None]).sum(1).tolist()
    forward, ended = first + scores[starts], []
    for place, count in enumerate(alive[1:], start=1):
        if count < len(forward):
            ended.append(forward[count:])
            forward = forward[:count]
        forward = scores[starts[:count] + place] + (forward[:, :, None] + pairs).logsumexp(1)
    return (torch.cat([forward, *reversed(ended)]) + last).logsumexp(1)


def _path(scores: Tensor, targets: Tensor, starts: Tensor, lengths: Tensor, pairs: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """``(c,)`` the score of the targets' own path."""
    rows = torch.repeat_interleave(starts, lengths) + _places(lengths)
    chain = torch.repeat_interleave(torch.arange(len(starts), device=starts.device), lengths)
    tags = targets[rows]
    steps = scores[rows, tags] + torch.where(_places(lengths) > 0, pairs[F.pad(tags, (1, 0))[:-1], tags], 0.0)
    told = scores.new_zeros(len(starts)).index_add(0, chain, steps)
    return told + first[targets[starts]] + last[targets[starts + lengths - 1]]


def _chains(targets: Tensor) -> tuple[Tensor, Tensor]:
    """First rows and lengths of the runs of rows with targets."""
    there = F.pad((targets != IGNORED).to(torch.int8), (1, 1))
    change = there[1:] - there[:-1]
    starts, stops = torch.nonzero(change == 1).flatten(), torch.nonzero(change == -1).flatten()
    return starts, stops - starts


def _places(lengths: Tensor) -> Tensor:
    """``(sum,)``: 0, 1, 2, ... anew in each chain."""
    first = torch.repeat_interleave(lengths.cumsum(0) - lengths, lengths)
    return torch.arange(len(first), device=lengths.device) - first
