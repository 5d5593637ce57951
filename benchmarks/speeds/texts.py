"""The texts that the speed benchmark reads: three length sets, real where `NLPHUB_DATA` is there, else cut from the demo data.

``service`` is what customers ask (mean 18 tokens with [CLS] and [SEP], most of them short, some long), ``news`` headlines (22), ``long``
reviews, abstracts and descriptions of goods (190, cut to 510 characters).
"""

import json
import lzma
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import nlphub as hub

_MOST = 510  # characters


@dataclass(frozen=True, slots=True)
class Lengths:
    """One length set.

    Attributes:
        tokens: mean, [CLS] and [SEP] included.
        spread: of the logarithm of the lengths, for made texts.
        sets: real sets -> their share, chosen so that the mean is about ``tokens``.
    """

    tokens: int
    spread: float
    sets: Mapping[str, float]


LENGTHS = {
    "service": Lengths(18, 0.6, {"cic": 0.63, "waimai_10k": 0.37}),
    "news": Lengths(22, 0.25, {"tnews": 0.4, "thucnews10": 0.6}),
    "long": Lengths(190, 0.6, {"chnsenticorp": 0.2, "fewclue_csldcp": 0.8}),
}


def texts_of(name: str, count: int, data: Path | None, *, seed: int = 0) -> list[str]:
    """``count`` texts of a length set in random order; real ones repeat where they are too few."""
    return real(LENGTHS[name], count, data, seed) if data else made(LENGTHS[name], count, seed)


def real(lengths: Lengths, count: int, data: Path, seed: int) -> list[str]:
    """Texts of the real sets, each with its share."""
    generator, found = np.random.default_rng(seed), list[str]()
    for number, (name, share) in enumerate(lengths.sets.items()):
        wanted = count - len(found) if number == len(lengths.sets) - 1 else round(share * count)
        texts = _read(data, name, wanted)
        found += [texts[row] for row in _chosen(len(texts), wanted, generator)]
    return [found[row] for row in generator.permutation(len(found)).tolist()]


def made(lengths: Lengths, count: int, seed: int) -> list[str]:
    """Pieces of the demo data's text, of log-normal lengths."""
    generator = np.random.default_rng(seed)
    stream = "，".join(hub.load_data("bundle:recipes/data/bank_intents/train.csv")["train"].texts)
    mean = np.log(lengths.tokens - 2) - lengths.spread**2 / 2
    sizes = np.clip(generator.lognormal(mean, lengths.spread, count), 1, _MOST).astype(int).tolist()
    firsts = generator.integers(0, len(stream) - _MOST, count).tolist()
    return [stream[first : first + size] for first, size in zip(firsts, sizes, strict=True)]


def _read(data: Path, name: str, wanted: int) -> list[str]:
    """Texts of the splits of a set, until they are enough."""
    found: list[str] = []
    for split in ("test", "dev", "train"):
        path = data / "labelled" / name / f"{split}.jsonl.xz"
        if not path.is_file() or len(found) >= wanted:
            continue
        with lzma.open(path, "rt", encoding="utf-8") as lines:
            found += [text[:_MOST] for line in lines if isinstance(text := json.loads(line).get("text"), str) and text.strip()]
    return found


def _chosen(there: int, wanted: int, generator: np.random.Generator) -> list[int]:
    rounds = -(-wanted // there)
    rows: list[int] = np.concatenate([generator.permutation(there) for _ in range(rounds)])[:wanted].tolist()
    return rows
