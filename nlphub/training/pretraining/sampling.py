"""Which sequences the next batch holds: every shard is a stream in an order of its own, and the streams are mixed by weight.

The whole state is how many sequences were taken from each shard, so a stopped training goes on with the very next sequence, and a
shard that appears while training runs simply joins.

Notation: ``b`` sequences of a batch, ``t`` tokens of all of them together.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from zlib import crc32

import numpy as np

from nlphub.data.shards import Corpus, Flags, Shard
from nlphub.text.encoding import Encoded, Ints
from nlphub.text.tokenizers import Tokenizer

_SHORTEST = 4  # tokens: what is shorter gives the network nothing to guess from


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Sequences for one step, sorted by length.

    Attributes:
        encoded: ``b`` sequences with [CLS] and [SEP]; offsets are empty, since there is no caller's text.
        word_starts: ``(t,)`` bool.
    """

    encoded: Encoded
    word_starts: Flags


class Stream:
    """The sequences of one shard, in a new order on every pass."""

    def __init__(self, shard: Shard, *, room: int, seed: int) -> None:
        self.shard, self.seed = shard, seed
        self._spans = cut(shard.starts, room=room)
        self._pass = -1
        self._order = np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self._spans)

    @property
    def mean_length(self) -> float:
        """Tokens of a sequence, without special ones."""
        return float((self._spans[:, 1] - self._spans[:, 0]).mean())

    def take(self, taken: int, count: int) -> Ints:
        """``(count, 2)`` start and end of the sequences that follow the first ``taken``, pass after pass."""
        numbers = np.arange(taken, taken + count)
        rows = [self._in_pass(int(which))[numbers[numbers // len(self) == which] % len(self)] for which in np.unique(numbers // len(self))]
        return self._spans[np.concatenate(rows)] if rows else self._spans[:0]

    def _in_pass(self, which: int) -> Ints:
        if which != self._pass:
            generator = np.random.default_rng([self.seed, which, crc32(self.shard.name.encode())])
            self._pass, self._order = which, generator.permutation(len(self))
        return self._order


class Sampler:
    """Draws batches from a corpus.

    Args:
        corpus: of shards; looked at again by :meth:`refresh`.
        tokenizer: for the ids of [CLS] and [SEP].
        max_length: tokens of a sequence, special ones included.
        seed: decides all orders and mixtures.
        taken: shard name -> sequences taken before, to go on from there.
    """

    def __init__(self, corpus: Corpus, tokenizer: Tokenizer, *, max_length: int, seed: int, taken: Mapping[str, int] | None = None) -> None:
        self.corpus, self.tokenizer, self.max_length, self.seed = corpus, tokenizer, max_length, seed
        self.taken = dict(taken or {})
        self._streams: dict[str, Stream] = {}
        self._add(corpus.shards)

    @property
    def tokens(self) -> int:
        """Tokens of all shards that are there, each once."""
        return self.corpus.tokens

    def refresh(self) -> tuple[str, ...]:
        """Pick up new shards; returns their names."""
        new = self.corpus.refresh()
        self._add(new)
        return new

    def batch(self, step: int, *, tokens: int) -> Batch:
        """Sequences of at least ``tokens`` tokens together (by less than one sequence more), for step number ``step``."""
        names, share, length = self._mixture
        generator = np.random.default_rng([self.seed, step])
        spans: list[tuple[str, Ints]] = []
        total, missing = 0, tokens
        while missing > 0:
            counts = generator.multinomial(max(1, int(missing / length)), share)
            for name, count in zip(names, counts.tolist(), strict=True):
                if count:
                    found = self._streams[name].take(self.taken.get(name, 0), count)
                    self.taken[name] = self.taken.get(name, 0) + count
                    spans.append((name, found))
                    total += int((found[:, 1] - found[:, 0] + 2).sum())
            missing = tokens - total
        return self._assemble(spans)

    @cached_property
    def _mixture(self) -> tuple[list[str], np.ndarray, float]:
        """Names, shares of sequences, and the mean length of a drawn sequence."""
        names = [name for name, stream in self._streams.items() if len(stream)]
        weights = np.array([len(self._streams[name]) * self._streams[name].shard.weight for name in names])
        share = weights / weights.sum()
        return names, share, float(sum(s * (self._streams[n].mean_length + 2) for n, s in zip(names, share, strict=True)))

    def _add(self, names: tuple[str, ...]) -> None:
        for name in names:
            self._streams[name] = Stream(self.corpus[name], room=self.max_length - 2, seed=self.seed)
        self._streams = dict(sorted(self._streams.items()))
        self.__dict__.pop("_mixture", None)

    def _assemble(self, spans: list[tuple[str, Ints]]) -> Batch:
        parts = [(self.corpus[name], a, b) for name, found in spans for a, b in found.tolist()]
        return assemble(sorted(parts, key=lambda part: part[2] - part[1]), self.tokenizer)


def cut(starts: Ints, *, room: int) -> Ints:
    """``(n, 2)`` start and end of the sequences that documents are cut into: pieces of ``room`` tokens, and what is left of each."""
    lengths = np.diff(starts)
    pieces = -(-lengths // room)
    document = np.repeat(np.arange(len(lengths)), pieces)
    number = np.arange(len(document)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    begin = starts[document] + number * room
    spans = np.stack([begin, np.minimum(begin + room, starts[document + 1])], axis=1)
    kept: Ints = spans[spans[:, 1] - spans[:, 0] >= _SHORTEST]
    return kept


def assemble(parts: list[tuple[Shard, int, int]], tokenizer: Tokenizer) -> Batch:
    """Ranges of shards as sequences with [CLS] and [SEP]."""
    lengths = np.array([end - begin + 2 for _, begin, end in parts], np.int64)
    edges = np.concatenate([[0], np.cumsum(lengths)])
    ids, words = np.empty(edges[-1], np.int64), np.ones(edges[-1], np.bool_)
    ids[edges[:-1]], ids[edges[1:] - 1] = tokenizer.cls_id, tokenizer.sep_id
    for (shard, begin, end), first in zip(parts, (edges[:-1] + 1).tolist(), strict=True):
        ids[first : first + end - begin] = shard.ids[begin:end]
        words[first : first + end - begin] = shard.word_starts_of(begin, end)
    encoded = Encoded(
        ids=ids,
        types=np.zeros_like(ids),
        offsets=np.zeros((len(ids), 2), np.int64),
        starts=edges,
        truncated=np.zeros(len(parts), np.bool_),
    )
    return Batch(encoded, words)
