"""Tokenised text for pretraining: shards that are published whole, mapped into memory, and picked up while training runs.

A shard is one safetensors file: ``ids`` of all its documents one behind the other, without special tokens; ``words``, a bit for each
token that is set where a word starts (``numpy.packbits``); ``starts``, where documents start. Its metadata name the tokenizer by its
digest, the source of the text, and how often the source is sampled.

Notation: ``t`` tokens of a shard, ``n`` documents.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nlphub.data.arrays import Array, open_arrays, write_arrays
from nlphub.errors import DataError, InputError
from nlphub.text.encoding import Ints

SCHEMA = "1"
SUFFIX = ".safetensors"

Flags = NDArray[np.bool_]

_ARRAYS = {"ids": ("uint16", "uint32"), "words": ("uint8",), "starts": ("int64",)}


def write_shard(
    path: Path, *, ids: Array, word_starts: Flags, starts: Ints, tokenizer_digest: str, source: str = "", weight: float = 1.0
) -> None:
    """Publish a shard. Equal arguments give equal bytes.

    Args:
        path: ends in ``.safetensors``.
        ids: ``(t,)`` entries of the vocabulary; kept as uint16 if all fit, else as uint32.
        word_starts: ``(t,)`` True where a word starts.
        starts: ``(n + 1,)`` document ``i`` is ``ids[starts[i]:starts[i + 1]]``; none is empty.
        tokenizer_digest: of the tokenizer that made the ids.
        source: where the text is from, for scores by source.
        weight: how often the shard is sampled, compared with others; 1.0 is once in an epoch.

    Raises:
        InputError: the arrays do not fit together.
    """
    problem = _problem(len(ids), len(word_starts), starts)
    if problem or (len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < 1 << 32):
        raise InputError(f"These arrays are no shard: {problem or 'ids have to lie between 0 and 2**32'}")
    small = not len(ids) or int(ids.max()) < 1 << 16
    arrays = {"ids": ids.astype(np.uint16 if small else np.uint32), "words": np.packbits(word_starts), "starts": starts.astype(np.int64)}
    metadata = {"schema": SCHEMA, "tokenizer": tokenizer_digest, "source": source, "weight": repr(float(weight))}
    write_arrays(path, arrays, metadata)


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """A shard that is mapped into memory: its pages are read when they are used. ``len(shard)`` counts documents.

    Attributes:
        name: of the file, without its suffix.
        ids: ``(t,)`` uint16 or uint32.
        words: ``(ceil(t / 8),)`` uint8, packed; see :meth:`word_starts_of`.
        starts: ``(n + 1,)`` int64.
        tokenizer: digest of the tokenizer.
        source: where the text is from.
        weight: how often it is sampled, compared with others; 1.0 is once in an epoch.
    """

    name: str
    ids: Array
    words: NDArray[np.uint8]
    starts: Ints
    tokenizer: str
    source: str
    weight: float

    @classmethod
    def open(cls, path: Path) -> "Shard":
        """Map a shard.

        Raises:
            DataError: the file is missing, damaged, or of another kind.
        """
        arrays, metadata = open_arrays(path, _ARRAYS)
        problem = _problem(len(arrays["ids"]), None, arrays["starts"])
        if metadata.get("schema") != SCHEMA:
            problem = f"its schema is {metadata.get('schema')!r}, not {SCHEMA!r}"
        elif len(arrays["words"]) != -(-len(arrays["ids"]) // 8):
            problem = f"{len(arrays['words'])} bytes of word starts do not fit {len(arrays['ids'])} tokens"
        weight = _number(metadata.get("weight", "1"))
        if problem or weight is None:
            problem = problem or f"its weight is {metadata['weight']!r}"
            raise DataError(f"{path} is no shard of this version: {problem}. Make it again with `nlphub pretrain-data`.")
        return cls(
            name=path.name.removesuffix(SUFFIX),
            ids=arrays["ids"],
            words=arrays["words"],
            starts=arrays["starts"],
            tokenizer=metadata.get("tokenizer", ""),
            source=metadata.get("source", ""),
            weight=weight,
        )

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def tokens(self) -> int:
        """``t``."""
        return len(self.ids)

    @property
    def word_starts(self) -> Flags:
        """``(t,)`` bool, unpacked anew at each call: one byte a token."""
        return self.word_starts_of(0, self.tokens)

    def word_starts_of(self, begin: int, end: int) -> Flags:
        """``(end - begin,)`` bool: the word starts of a range of tokens, without unpacking the others."""
        bits = np.unpackbits(self.words[begin // 8 : -(-end // 8)], count=end - begin // 8 * 8)
        return bits[begin % 8 :].astype(np.bool_)


@dataclass(slots=True, eq=False)
class Corpus(Mapping[str, Shard]):
    """The shards of a folder by name, in the order of their names.

    Attributes:
        folder: what :meth:`refresh` looks at again.
        tokenizer: the digest that every shard has to have.
    """

    folder: Path
    tokenizer: str
    _shards: dict[str, Shard] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, folder: Path, *, tokenizer_digest: str) -> "Corpus":
        """Map all shards of a folder.

        Raises:
            InputError: there is no such folder, or no shard in it.
            DataError: a shard is damaged, or was made with another tokenizer.
        """
        corpus = cls(folder, tokenizer_digest)
        if not folder.is_dir() or not corpus.refresh():
            raise InputError(
                f"{folder} holds no shards (*{SUFFIX}); make them with `nlphub pretrain-data`, which writes OUT/train and OUT/dev"
            )
        return corpus

    @property
    def shards(self) -> tuple[str, ...]:
        """Names of the shards, sorted."""
        return tuple(self._shards)

    @property
    def tokens(self) -> int:
        """Tokens of all shards."""
        return sum(shard.tokens for shard in self._shards.values())

    def refresh(self) -> tuple[str, ...]:
        """Pick up shards that have appeared since; returns their names. Shards that are there already stay as they are.

        Raises:
            DataError: a new shard is damaged, or was made with another tokenizer.
        """
        paths = {path.name.removesuffix(SUFFIX): path for path in self.folder.glob(f"*{SUFFIX}") if not path.name.startswith(".")}
        new = {name: Shard.open(path) for name, path in paths.items() if name not in self._shards}
        if wrong := sorted(name for name, shard in new.items() if shard.tokenizer != self.tokenizer):
            raise DataError(
                f"{len(wrong)} shards in {self.folder} were made with another tokenizer than the module's, whose digest is "
                f"{self.tokenizer}. Make them again with `nlphub pretrain-data --tokenizer ...`.",
                [f"{name} has {new[name].tokenizer or 'no digest'}" for name in wrong],
            )
        self._shards = dict(sorted((self._shards | new).items()))
        return tuple(sorted(new))

    def __getitem__(self, name: str) -> Shard:
        return self._shards[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._shards)

    def __len__(self) -> int:
        return len(self._shards)


def _problem(tokens: int, flags: int | None, starts: Ints) -> str:
    """Why arrays of these lengths and document starts are no shard, or nothing."""
    if flags is not None and flags != tokens:
        return f"{flags} word starts do not fit {tokens} tokens"
    if starts.ndim != 1 or not len(starts) or starts[0] != 0 or starts[-1] != tokens or not np.all(np.diff(starts) > 0):
        return f"document starts have to ascend from 0 to the number of tokens ({tokens})"
    return ""


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < 1e6 else None
