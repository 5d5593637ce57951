"""200 cloze items, written for this repository: how often a module names the missing character, beside what counting alone reaches.

    python benchmarks/cloze.py [MODULE] --corpus SHARDS [--json]

MODULE is a name of `nlphub list` or a module's folder (default ernie_tiny); SHARDS is a folder of `nlphub pretrain-data`, e.g. OUT/train.
Baselines are counted on those shards: `frequency` always answers with the most frequent characters; `bigram` ranks a character c by
p(c | character before) x p(character behind | c), both with add-k smoothing. All answer from the same candidates: every entry of the
vocabulary that can stand in a text. Items are in benchmarks/data/cloze.csv, one missing character each, with the one answer that
a native reader gives; other answers may be possible, so 100 % is not to be expected.
"""

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import nlphub as hub
from nlphub.data.shards import Corpus
from nlphub.errors import NlphubError
from nlphub.tasks.fill_mask import candidates
from nlphub.text.tokenizers import Tokenizer

ITEMS = Path(__file__).parent / "data" / "cloze.csv"
TOP = 5
SMOOTHING = 0.01  # added to every count of a pair; chosen by hand once, not fitted to the items
CHUNK = 1 << 22  # tokens of a shard that are counted together

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Item:
    """A text with one [MASK], the character that belongs there, and what the item is about."""

    text: str
    answer: str
    kind: str


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """What counting needs to know of a corpus, for the neighbours that occur in the items only.

    Attributes:
        single: ``(v,)`` how often each character occurs.
        after: character -> ``(v,)`` how often each character follows it.
        before: character -> ``(v,)`` how often each character precedes it.
        tokens: of the corpus.
    """

    single: Ints
    after: dict[int, Ints]
    before: dict[int, Ints]
    tokens: int


def read_items(path: Path = ITEMS) -> list[Item]:
    with path.open(encoding="utf-8", newline="") as stream:
        return [Item(**row) for row in csv.DictReader(stream)]


def count(corpus: Corpus, *, left: Sequence[int], right: Sequence[int], vocabulary: int) -> Counts:
    """Count a corpus; pairs do not reach over the edge of a document."""
    single = np.zeros(vocabulary, np.int64)
    after, before = (dict.fromkeys(sorted({*ids}), single) for ids in (left, right))
    for shard in corpus.values():
        last = np.zeros(shard.tokens, np.bool_)
        last[shard.starts[1:] - 1] = True
        for begin in range(0, shard.tokens, CHUNK):
            ids = np.asarray(shard.ids[begin : begin + CHUNK + 1], np.int64)
            first, second = ids[:CHUNK][: len(ids) - 1], ids[1:]
            inside = ~last[begin : begin + len(first)]
            single = single + np.bincount(ids[:CHUNK], minlength=vocabulary)
            for table, given, other in ((after, first, second), (before, second, first)):
                for known, numbers in _grouped(given[inside], other[inside], table).items():
                    table[known] = table[known] + np.bincount(numbers, minlength=vocabulary)
    return Counts(single, after, before, int(single.sum()))


def _grouped(given: Ints, other: Ints, known: dict[int, Ints]) -> dict[int, Ints]:
    """The partners of each known character."""
    chosen = np.isin(given, np.array([*known], np.int64))
    order = np.argsort(given[chosen], kind="stable")
    names, starts = np.unique(given[chosen][order], return_index=True)
    return dict(zip(names.tolist(), np.split(other[chosen][order], starts[1:]), strict=True)) if len(names) else {}


def neighbours(items: Sequence[Item], tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """The ids before and behind each mask; those of [CLS] and [SEP], which no corpus holds, at the edges."""
    encoded = tokenizer.encode_masked([item.text for item in items])
    places = np.flatnonzero(encoded.ids == tokenizer.mask_id)
    return encoded.ids[places - 1].tolist(), encoded.ids[places + 1].tolist()


def rank_by_bigrams(counts: Counts, left: int, right: int, ids: Ints) -> Ints:
    """The best candidates for a place between two characters, best first."""
    size = len(ids)
    scores = np.zeros(size)
    for table, given, norm in ((counts.after, left, counts.after[left].sum()), (counts.before, right, counts.single[ids])):
        if table[given].any():  # an edge of the text tells nothing
            scores += np.log(table[given][ids] + SMOOTHING) - np.log(norm + SMOOTHING * size)
    scores = scores if scores.any() else counts.single[ids].astype(float)
    return ids[np.argsort(-scores, kind="stable")[:TOP]]


def answers_of_counts(items: Sequence[Item], tokenizer: Tokenizer, corpus: Corpus) -> tuple[dict[str, list[list[str]]], int]:
    """The ranked answers of both baselines, and the tokens that they were counted on."""
    left, right = neighbours(items, tokenizer)
    counts = count(corpus, left=left, right=right, vocabulary=len(tokenizer))
    ids = candidates(tokenizer.vocabulary)
    frequent = ids[np.argsort(-counts.single[ids], kind="stable")[:TOP]]
    ranked = {
        "frequency": [frequent] * len(items),
        "bigram": [rank_by_bigrams(counts, a, b, ids) for a, b in zip(left, right, strict=True)],
    }
    return {name: [[tokenizer.vocabulary[i] for i in row] for row in rows] for name, rows in ranked.items()}, counts.tokens


def answers_of_module(items: Sequence[Item], module: Any) -> list[list[str]]:
    predicted = module.predict([item.text for item in items], top_k=TOP)
    return [[token for token, _ in answer.masks[0].top] for answer in predicted]


def score(name: str, items: Sequence[Item], answers: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Top-1 and top-5 rate, over all items and for each kind."""
    first = [answer[0] == item.answer for item, answer in zip(items, answers, strict=True)]
    five = [item.answer in answer for item, answer in zip(items, answers, strict=True)]
    kinds = {kind: float(np.mean([hit for item, hit in zip(items, first, strict=True) if item.kind == kind])) for kind in _kinds(items)}
    return {"name": name, "top1": float(np.mean(first)), "top5": float(np.mean(five)), "top1_of": kinds, "items": len(items)}


def open_module(name: str) -> Any:
    where = {"directory": name} if Path(name).is_dir() else {"name": name}
    return hub.Module(**where, task="mlm")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("module", nargs="?", default="ernie_tiny", help="a name, or the folder of a module")
    parser.add_argument("--corpus", type=Path, required=True, help="shards of `nlphub pretrain-data`")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    try:
        items, module = read_items(), open_module(arguments.module)
        corpus = Corpus.open(arguments.corpus, tokenizer_digest=module.tokenizer.digest)
    except NlphubError as wrong:
        print(wrong, file=sys.stderr)
        return wrong.exit_code
    ranked, tokens = answers_of_counts(items, module.tokenizer, corpus)
    ours = answers_of_module(items, module)
    rows = [score(name, items, answers) for name, answers in {**ranked, arguments.module: ours}.items()]
    facts = {"rows": rows, "counted_tokens": tokens, "trained": module.trained, "first": {"text": items[0].text, "top": ours[0]}}
    print(json.dumps(facts, ensure_ascii=False, indent=2) if arguments.json else table(facts, items))
    return 0


def table(facts: dict[str, Any], items: Sequence[Item]) -> str:
    kinds, width = _kinds(items), max(len(row["name"]) for row in facts["rows"])
    lines = [f"{'':{width}}  {'top-1':>6}  {'top-5':>6}  " + "  ".join(f"{kind:>9}" for kind in kinds)]
    for row in facts["rows"]:
        of = "  ".join(f"{row['top1_of'][kind]:>9.1%}" for kind in kinds)
        lines.append(f"{row['name']:{width}}  {row['top1']:>6.1%}  {row['top5']:>6.1%}  {of}")
    lines.append(f"{len(items)} items; baselines counted on {facts['counted_tokens']:,} tokens; kinds are top-1")
    lines.append(f"{facts['first']['text']} -> {' '.join(facts['first']['top'])}{'' if facts['trained'] else '   (the head is UNTRAINED)'}")
    return "\n".join(lines)


def _kinds(items: Sequence[Item]) -> list[str]:
    return list(dict.fromkeys(item.kind for item in items))


if __name__ == "__main__":
    sys.exit(main())
