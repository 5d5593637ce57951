"""What labelled texts look like at a glance: rows, labels, lengths, scripts, repetitions."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlphub.data.cells import is_blank
from nlphub.data.corpus.batch import Flags, edges_of, sums
from nlphub.data.corpus.quality import is_han
from nlphub.data.doctor.classes import count_labels
from nlphub.data.doctor.collection import default_table
from nlphub.data.examples import Examples
from nlphub.data.growing import Growing
from nlphub.text.normalize import Codes, code_points

_PIECE = 1 << 16  # characters that are looked at together

SCRIPTS = ("Chinese", "Chinese with traditional characters", "Japanese", "Korean", "Latin", "other letters", "no letters")

_KANA, _HANGUL = ((0x3040, 0x3100), (0x31F0, 0x3200), (0xFF66, 0xFF9E)), ((0x1100, 0x1200), (0xAC00, 0xD7A4))
_LATIN = ((0x41, 0x5B), (0x61, 0x7B), (0xC0, 0x250), (0x1E00, 0x1F00), (0xFF21, 0xFF3B), (0xFF41, 0xFF5B))


@dataclass(frozen=True, slots=True)
class Profile:
    """What labelled texts look like.

    Attributes:
        rows: examples.
        labels: how many examples each label has, most first.
        lengths: characters of a text: ``shortest``, ``median``, ``mean``, ``p95``, ``longest``; empty without examples.
        scripts: how many texts are in which of :data:`SCRIPTS`; each text counts once, by the first that it has a letter of.
        mixed: Chinese texts that have Latin letters too.
        repeated: texts that an earlier one equals, character by character; those without a visible character do not count.
    """

    rows: int
    labels: Mapping[str, int]
    lengths: Mapping[str, float]
    scripts: Mapping[str, int]
    mixed: int
    repeated: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def describe(examples: Examples) -> Profile:
    """Look at examples."""
    sizes, keys, scripts, mixed = Growing(np.int64), Growing(np.uint64), Counter[str](), 0
    for piece in examples.pieces(_PIECE):
        texts = piece.texts
        sizes.add(np.fromiter(map(len, texts), np.int64, len(texts)))
        found, both = _scripts(texts)
        scripts, mixed = scripts + found, mixed + both
        keys.add(np.frombuffer(b"".join(_key(text) for text in texts if not is_blank(text)), np.uint64))
    return Profile(
        rows=len(examples),
        labels=dict(sorted(count_labels(examples).items(), key=lambda item: (-item[1], item[0]))),
        lengths=_lengths(sizes.array()),
        scripts={name: scripts[name] for name in SCRIPTS if scripts[name]},
        mixed=mixed,
        repeated=len(keys) - len(np.unique(keys.array())),
    )


def _key(text: str) -> bytes:
    """Eight bytes that differ where texts differ: of ten million texts two fall together by chance once in 400,000 times."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _lengths(sizes: NDArray[np.int64]) -> dict[str, float]:
    if not len(sizes):
        return {}
    middle, high = np.percentile(sizes, [50, 95], method="inverted_cdf")  # lengths that are there
    return {
        "shortest": int(sizes.min()),
        "median": int(middle),
        "mean": round(float(sizes.mean()), 1),
        "p95": int(high),
        "longest": int(sizes.max()),
    }


def _scripts(texts: list[str]) -> tuple[Counter[str], int]:
    """How many texts are in which script, and how many mix Chinese with Latin."""
    edges = edges_of(np.fromiter(map(len, texts), np.int64, len(texts)))
    codes = code_points("".join(texts))
    han, latin = is_han(codes), _within(codes, _LATIN)
    signs = {
        "Japanese": _within(codes, _KANA),
        "Korean": _within(codes, _HANGUL),
        "Chinese with traditional characters": _traditional(codes, han),
        "Chinese": han,
        "Latin": latin,
        "other letters": _letters(codes),
    }
    has = {name: sums(sign, edges) > 0 for name, sign in signs.items()}
    left, counts = np.ones(len(texts), np.bool_), Counter[str]()
    for name, rows in has.items():
        counts[name] = int((left & rows).sum())
        left &= ~rows
    counts["no letters"] = int(left.sum())
    return counts, int((has["Chinese"] & has["Latin"]).sum())


def _within(codes: Codes, ranges: tuple[tuple[int, int], ...]) -> Flags:
    result = np.zeros(len(codes), np.bool_)
    for first, last in ranges:
        result |= (codes >= first) & (codes < last)
    return result


def _traditional(codes: Codes, han: Flags) -> Flags:
    """Chinese characters that the tokenizer's table folds into others: traditional forms and variants."""
    changed: Flags = default_table().codes[codes] != codes
    return han & changed


def _letters(codes: Codes) -> Flags:
    known, places = np.unique(codes, return_inverse=True)
    return np.array([chr(code).isalpha() for code in known.tolist()], np.bool_)[places]
