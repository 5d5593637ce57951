"""The judged sets: where their rows come from, and which rows a cell trains on and is judged on.

Rows are cut by a budget of tokens, not of examples, so that a cell costs the same on every set. Which rows: a permutation by seed 0, and
of it the longest beginning that fits. So a smaller budget trains on a part of what a larger one trains on, and every column on the same.
"""

import hashlib
import json
import lzma
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nlphub import paths
from nlphub.data.slots import to_slots
from nlphub.data.spans import Span, from_tags, from_words
from nlphub.errors import DataError, InputError
from nlphub.labels import INTENT, SLOT
from nlphub.text.tokenizers import load_tokenizer

JUDGED_ROWS = 2_000  # at most this many rows are judged while training is capped
ROWS_SEED = 0

Kind = Literal["text", "pair", "spans", "probe", "sets", "numbers", "frames"]


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled text; ``spans`` instead of ``label`` where entities are asked for, both of frames, ``labels`` or ``value`` of these."""

    text: str
    label: str | None = None
    pair: str | None = None
    spans: tuple[Span, ...] = ()
    labels: tuple[str, ...] | None = None
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Set:
    """A set as the table shows it.

    Attributes:
        folder: its name under ``labelled/`` of the data folder.
        judged: the split that is judged. Nothing is ever chosen by it: epochs are fixed and the last weights are judged.
        metrics: the scores that the table shows, the first one first.
        subset: whether our training rows are a part of those that the published figures were trained on, whatever the cap.
        max_length: tokens that the network reads of a row, [CLS] and [SEP] included.
        note: what a reader of the table has to know.
    """

    name: str
    title: str
    folder: str
    kind: Kind
    judged: Literal["dev", "test"]
    metrics: tuple[str, ...] = ("accuracy",)
    subset: bool = False
    max_length: int = 128
    note: str = ""


_BOTH = ("accuracy", "macro_f1")
_AUC = ("accuracy", "auc")
_ON_DEV = "judged on dev, test has no labels"

SETS = {
    one.name: one
    for one in (
        Set("smp2017", "SMP2017-ECDT", "smp2017_ecdt", "text", "test", _BOTH, note="31 domains of user requests"),
        Set("cic", "CIC", "cic", "text", "test", _BOTH, note="118 intents of customers; labels of train are noisy on purpose"),
        Set(
            *("tnews", "TNEWS", "tnews", "text", "test"),
            subset=True,
            note="test = re-checked rows of DataCLUE, not the official dev of the published figures; keywords are not used",
        ),
        Set(
            *("iflytek", "IFLYTEK subset", "iflytek_sub", "text", "test"),
            subset=True,
            note="4,154 of about 12,000 train rows; test = DataCLUE's, not the official dev; linear models read whole texts",
        ),
        Set(
            *("lcqmc", "LCQMC", "lcqmc", "pair", "test", _AUC),
            subset=True,
            note="trained on the official dev (8,802 rows instead of 238,766)",
        ),
        Set("afqmc", "AFQMC", "afqmc", "pair", "dev", (*_BOTH, "auc"), note=f"{_ON_DEV}; 69.0 is the share of the larger class"),
        Set(
            *("bq", "BQ corpus", "bq_corpus", "pair", "test", _AUC),
            subset=True,
            note="trained on the official dev (10,000 rows instead of 100,000); the rate for all pairs is the better of two on 800 rows of "
            "this test",
        ),
        Set("ocnli", "OCNLI", "ocnli", "pair", "dev", subset=True, note=f"{_ON_DEV}; 9,985 of about 50,000 train rows"),
        Set(
            *("chnsenticorp", "ChnSentiCorp", "chnsenticorp", "text", "test"),
            note="345 train rows that are test rows too are left out; linear models read whole texts",
        ),
        Set("waimai", "Waimai 10k", "waimai_10k", "text", "test", note="take-away orders; our own split by a digest"),
        Set(
            *("thucnews", "THUCNews titles", "thucnews10", "text", "test"),
            subset=True,
            note="33,464 of 180,000 train rows; the usual test of 10,000",
        ),
        Set(
            *("crosswoz", "CrossWOZ acts", "crosswoz_nlu", "sets", "test", ("micro_f1", "macro_f1", "subset_accuracy")),
            note="16 kinds of dialogue acts, any number for a sentence; the 500 validation dialogues stand in for train; threshold 0.5",
        ),
        Set(
            *("stsb", "STS-B", "stsb_zh", "numbers", "test", ("spearman", "pearson")),
            note="machine-translated pairs, 0 to 5; correlations times 100",
        ),
        Set("cluener", "CLUENER", "cluener", "spans", "dev", ("f1",), max_length=512, note=_ON_DEV),
        Set(
            *("msra", "MSRA NER", "msra_ner", "spans", "test", ("f1",)),
            subset=True,
            max_length=512,
            note="a twentieth of train is kept as dev; test is the official text, cut into 4,631 sentences",
        ),
        Set("resume", "Resume NER", "resume_ner", "spans", "test", ("f1",), max_length=512, note="official split; 8 types of entities"),
        Set(
            *("sxu", "SXU words", "cws_sxu", "spans", "test", ("f1",)),
            max_length=512,
            note="SIGHAN 2008 segmentation, official split; F1 of words, which are spans of one label",
        ),
        Set(
            *("smp2019", "SMP2019-ECDT", "smp2019_ecdt_nlu", "frames", "test", ("frame_accuracy", "intent_accuracy", "slot_f1")),
            note="48 intents of 29 domains, 59 types of slots; only the official train is public, our own split of it by a digest; slots "
            "are given as values: 6 train rows in which it is not clear where they stand are left out",
        ),
        Set(
            *("probe16", "SMP2017, frozen, 16 shots", "smp2017_ecdt", "probe", "test", _BOTH),
            note="10 draws of 16 rows of each label, or all where it has fewer; no fine-tuning",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Task:
    """What a cell works on.

    Attributes:
        labels: all labels of the set, sorted; types of entities where spans are asked for; of frames as a module of joint has them.
        facts: counts and the digest of the rows, for the record.
    """

    of: Set
    train: tuple[Row, ...]
    judged: tuple[Row, ...]
    labels: tuple[str, ...]
    facts: Mapping[str, Any]


def data_folder(named: Path | None = None) -> Path:
    """The folder of real data: the one named, or that of ``NLPHUB_DATA``.

    Raises:
        InputError: there is none.
    """
    folder = named or paths.real_data()
    if folder is None:
        raise InputError(
            "The sets are read from the folder of real data: set NLPHUB_DATA=folder (with labelled/ in it), or give --data folder"
        )
    if not (folder / "labelled").is_dir():
        raise InputError(f"{folder} holds no real data: there is no folder labelled/ in it. Set NLPHUB_DATA, or give --data folder")
    return folder


def load_task(one: Set, folder: Path, *, tokens: int | None) -> Task:
    """The rows of a cell.

    Args:
        folder: of the real data.
        tokens: trained in an epoch at most; ``None`` = all rows, and all judged rows too.

    Raises:
        DataError: the set's files are not there, or nothing fits into ``tokens``.
    """
    train, judged = (read_rows(folder / "labelled" / one.folder / f"{part}.jsonl.xz") for part in ("train", one.judged))
    return make_task(one, train, judged, tokens=tokens, count=token_counter(one.max_length))


def make_task(one: Set, train: Sequence[Row], judged: Sequence[Row], *, tokens: int | None, count: Callable[[Sequence[Row]], Any]) -> Task:
    """Cut the rows of a set to a budget.

    Args:
        count: rows -> tokens of each.
    """
    labels = tuple(sorted({name for row in (*train, *judged) for name in _names(row, one.kind)}))
    known = {(row.text, row.pair) for row in judged}
    own = [row for row in train if (row.text, row.pair) not in known]
    uncapped = tokens is None or one.kind == "probe"
    sizes = np.asarray(count(own))
    chosen = np.arange(len(own)) if uncapped else within(sizes, int(tokens or 0))
    if not len(chosen):
        raise DataError(f"{one.title}: no row fits into {tokens} tokens; give --tokens more")
    asked = judged if uncapped else [judged[number] for number in sample(len(judged), JUDGED_ROWS)]
    kept = tuple(own[number] for number in chosen)
    facts = {
        "train_rows": len(kept),
        "train_rows_of": len(own),
        "train_tokens": int(sizes[chosen].sum()),
        "train_rows_judged_too": len(train) - len(own),
        "judged_rows": len(asked),
        "judged_rows_of": len(judged),
        "judged_split": one.judged,
        "rows_digest": rows_digest(kept, asked),
    }
    return Task(one, kept, tuple(asked), labels, facts)


def within(sizes: Any, budget: int) -> Any:
    """Numbers, ascending, of the rows that fit: the longest beginning of a permutation by seed 0 whose sizes sum to at most ``budget``."""
    order = np.random.default_rng(ROWS_SEED).permutation(len(sizes))
    return np.sort(order[np.cumsum(np.asarray(sizes)[order]) <= budget])


def sample(total: int, most: int) -> list[int]:
    """Numbers, ascending, of at most ``most`` of ``total`` rows: the beginning of a permutation by seed 0."""
    chosen: list[int] = np.sort(np.random.default_rng(ROWS_SEED).permutation(total)[:most]).tolist()
    return chosen


def token_counter(max_length: int) -> Callable[[Sequence[Row]], Any]:
    """Tokens of each row, as ``zh_char`` counts them (one for each character, and the special ones) after cutting to ``max_length``."""
    tokenizer = load_tokenizer(paths.bundle() / "tokenizers" / "zh_char")

    def count(rows: Sequence[Row]) -> Any:
        pairs = [row.pair or "" for row in rows] if rows and rows[0].pair is not None else None
        return tokenizer.encode([row.text for row in rows], pairs, max_length=max_length).lengths

    return count


def read_rows(path: Path) -> list[Row]:
    """The rows of one ``.jsonl.xz`` file of the data folder.

    Raises:
        DataError: there is no such file.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing. NLPHUB_DATA has to name the folder whose MANIFEST.md lists this set")
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        return [to_row(line) for line in map(json.loads, lines) if is_clear(line)]


def is_clear(line: Mapping[str, Any]) -> bool:
    """Whether it is clear where the values of a frame's slots stand; other rows can neither be learnt nor judged."""
    try:
        if "intent" in line:
            to_slots(line["text"], line["slots"])
    except TypeError:
        return False
    return True


def to_row(line: Mapping[str, Any]) -> Row:
    """A row from a line: ``text``, ``label`` and perhaps ``text_pair``; characters ``tokens`` with BIO ``tags``; or words ``tokens``; or a
    frame: ``text``, ``label`` and ``slots``."""
    if "intent" in line:
        return Row(line["text"], label=str(line["label"]), spans=to_slots(line["text"], line["slots"]) or ())
    if "tokens" in line and "tags" not in line:
        text, spans = from_words(line["tokens"])
        return Row(text, spans=spans)
    if "tokens" in line:
        text, spans = from_tags(line["tokens"], mended(line["tags"]))
        return Row(text, spans=spans)
    if "labels" in line:
        return Row(line["text"], labels=tuple(sorted({*line["labels"]})))
    if "score" in line:
        return Row(line["text"], pair=line.get("text_pair"), value=float(line["score"]))
    return Row(line["text"], label=str(line["label"]), pair=line.get("text_pair"))


def mended(tags: Sequence[str]) -> list[str]:
    """BIO tags in which an ``I-`` that continues nothing of its type begins a span, as conlleval reads it: MSRA's test was cut anew into
    sentences, and a few cuts went through a name."""
    return [f"B-{tag[2:]}" if tag[:2] == "I-" and before[2:] != tag[2:] else tag for before, tag in zip(("O", *tags), tags, strict=False)]


def tags_of(row: Row) -> list[str]:
    """BIO tags of a row, one for each character."""
    tags = ["O"] * len(row.text)
    for span in row.spans:
        tags[span.start : span.end] = [f"B-{span.label}", *[f"I-{span.label}"] * (span.end - span.start - 1)]
    return tags


def rows_digest(*parts: Sequence[Row]) -> str:
    """SHA-256 of rows, in parts and in order, shortened to 16 digits."""
    return hashlib.sha256(json.dumps([[_plain(row) for row in part] for part in parts]).encode("ascii")).hexdigest()[:16]


def _plain(row: Row) -> tuple[Any, ...]:
    """What is not there leaves no trace: digests of older rows stay what they were."""
    *common, labels, value = astuple(row)
    return (*common, *(answer for answer in (labels, value) if answer is not None))


def _names(row: Row, kind: Kind) -> Iterator[str]:
    if kind == "frames":
        yield from (f"{INTENT}{row.label}", *(f"{SLOT}{span.label}" for span in row.spans))
        return
    if row.label is not None:
        yield row.label
    yield from (span.label for span in row.spans)
    yield from row.labels or ()
