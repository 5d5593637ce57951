"""``load_data``: from files, hub ids and data sets of other libraries to :class:`Splits`, with all bad rows reported at once."""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlphub import paths
from nlphub.data.annotated import COLUMNS, read_annotated
from nlphub.data.answers import Bounds
from nlphub.data.cells import as_text
from nlphub.data.checks import Needs, problems_of
from nlphub.data.corrections import correct
from nlphub.data.examples import Example, Examples, Splits, class_names, to_example
from nlphub.data.slots import to_slots
from nlphub.data.spans import from_tags, loose_tags
from nlphub.data.splitting import split_off
from nlphub.data.tables import Options, Rows, existing_file, read_dataset, read_rows, separator_hint, unit_of
from nlphub.errors import DataError, FetchError, OfflineError, brief, did_you_mean, require

if TYPE_CHECKING:
    from nlphub.recipe import DataSettings

log = logging.getLogger(__name__)

_ALIASES = {"validation": "dev", "valid": "dev", "val": "dev", "eval": "dev"}
_HUB = re.compile(r"hf://(?P<id>[^@:#/]+/[^@:#/]+)(@(?P<revision>[^:#]+))?(:(?P<config>[^#]+))?(#(?P<split>.+))?")


def load_data(
    source: Any,
    *,
    text: str = "text",
    label: str | None = "label",
    pair: str | None = None,
    spans: str | None = None,
    split: Mapping[str, float] | None = None,
    seed: int = 0,
    encoding: str | None = None,
    quotes: bool = True,
    corrections: str | Path | None = None,
    format: str | None = None,
    nested: bool = False,
    labels: str | None = None,
    value: str | None = None,
    bounds: Bounds | None = None,
    slots: str | None = None,
) -> Splits:
    """Read labelled texts.

        load_data("intents.csv", text="问题", label="意图", split={"dev": 0.1})
        load_data({"train": "train.tsv", "dev": "dev.tsv"})
        load_data("hf://clue/clue:tnews#train", text="sentence")
        load_data("lcqmc.tsv", text="text_a", pair="text_b")
        load_data("msra.conll", text="tokens", spans="tags")
        load_data("export.json", format="label-studio")
        load_data("requests.jsonl", label="intent", slots="slots")

    Labels become strings without surrounding spaces, also where the file has numbers (``3.0`` in a spreadsheet is ``"3"``) or class
    numbers with names. Texts stay as they are. Empty rows are skipped.

    Args:
        source: a csv, tsv, jsonl, json, xlsx, parquet or conll file (it gives ``train``), ``bundle:...``; a Hugging Face id
            ``hf://org/name[@revision][:config][#split]`` (all its splits, or ``train`` from the one named); a ``datasets`` object;
            or a mapping from split to any of these. Splits called validation, valid, val or eval become ``dev``.
        text: the column of texts.
        label: the column of labels; ``None`` reads unlabelled texts.
        pair: the column of second texts, for tasks over two texts.
        spans: the column of labelled stretches, for tasks over tokens; ``label`` is not read then. A cell holds
            ``[{"start": 0, "end": 2, "label": "company"}, ...]``, counted in code points of the text; or tags (BIO, BMES, BIOES) while
            the column ``text`` holds the list of tokens. A ``.conll`` file, a token and its tag on each line and a blank line behind each
            sentence, has the columns ``tokens`` and ``tags``.
        split: shares to cut off ``train``, see :func:`nlphub.data.splitting.split_off`.
        seed: of that split.
        encoding: of text files; default: UTF-8 or UTF-16 by its mark, else UTF-8 or GB18030, decided on the whole file.
        quotes: whether csv and tsv fields may be quoted; ``False`` for files in which ``"`` is a character like any other.
        corrections: a file of ``nlphub suspects``, edited: labels of ``train`` are replaced and rows left out as its column ``corrected``
            says, before ``split`` cuts anything off. See :mod:`nlphub.data.corrections`.
        format: ``conll``, ``doccano``, ``label-studio`` or ``words``: files of labelled stretches as annotation tools and corpora have
            them, whatever their suffix, see :mod:`nlphub.data.annotated`. ``text`` is the key of the texts then, and ``spans`` is not used.
        labels: the column of sets of labels, for tasks in which a text has any number of them; ``label`` is not read then. A cell is a
            list, or labels with ``|`` or ``;`` between them, or a JSON list; an empty one is a text without labels.
        value: the column of numbers, for tasks that estimate one; ``label`` is not read then.
        bounds: the smallest and the largest value that there may be, ``(0, 5)``.
        nested: whether spans may lie inside each other and overlap, as ``train.decoder: pointer`` finds them.
        slots: the column of slots, for joint, where ``label`` is the column of intents. A cell holds places as ``spans`` does, or values
            that stand in the text, ``{"city": "北京"}``; see :func:`nlphub.data.slots.to_slots`.

    Raises:
        DataError: files, columns or rows are wrong: empty texts, missing labels, tags out of order, ...; all bad rows of all
            splits at once, with their lines (``.problems`` holds all, the message the first 20). Or ``corrections`` do not fit the data.
        MissingExtraError: a format whose reader is not installed.
        OfflineError: a hub id that is not in the local cache, while NLPHUB_OFFLINE is set.
    """
    key = text
    if format is not None:
        text, spans = _columns_of(format, pair)
    if sum(name is not None for name in (spans, labels, value, slots)) > 1 or (bounds is not None and value is None):
        given = f"spans={spans!r}, labels={labels!r}, value={value!r} and slots={slots!r}"
        raise DataError(f"Give one of {given}; bounds={bounds!r} are of value")
    label = label if spans is None and labels is None and value is None else None
    reading = _Reading(text, label, pair, spans, encoding, quotes, format, key, nested, labels, value, bounds, slots)
    parts, problems = {}, []
    for name, origin in _parts(source):
        if name in parts:
            raise DataError(f"Two splits are called {name!r} (validation, valid, val and eval count as dev)")
        parts[name], found = reading.examples(origin, name)
        problems += found
    if problems:
        raise DataError("The data cannot be used as it is.", problems)
    if corrections is not None:
        if "train" not in parts or label is None:
            raise DataError(f"corrections={str(corrections)!r} are of the labels of 'train', and there are none")
        parts["train"] = correct(parts["train"], corrections)
    return Splits(_with_split(parts, split, seed) if split else parts)


def load_splits(settings: "DataSettings", *, seed: int = 0, nested: bool = False) -> Splits:
    """The splits that a recipe's ``data`` section names. Raises as :func:`load_data`.

    Args:
        seed: of ``data.split``; the recipe's ``train.seed``.
        nested: whether spans may overlap; the recipe's ``nested``.
    """
    sources = settings.sources
    return load_data(
        sources if len(sources) > 1 else settings.train,  # one hub id alone brings its own splits
        text=settings.text,
        label=settings.label,
        pair=settings.pair,
        spans=settings.spans,
        split=settings.split,
        seed=seed,
        encoding=settings.encoding,
        quotes=settings.quotes,
        corrections=settings.corrections,
        format=settings.format,
        nested=nested,
        labels=settings.labels,
        value=settings.value,
        bounds=settings.bounds,
        slots=settings.slots,
    )


@dataclass(frozen=True, slots=True)
class _Reading:
    """The caller's wishes, as far as one file is concerned."""

    text: str
    label: str | None
    pair: str | None
    spans: str | None
    encoding: str | None
    quotes: bool
    format: str | None
    key: str  # of the texts in files of annotation tools
    nested: bool
    labels: str | None = None
    value: str | None = None
    bounds: Bounds | None = None
    slots: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        names = (self.text, self.label, self.pair, self.spans, self.labels, self.value, self.slots)
        return tuple(name for name in names if name is not None)

    @property
    def needs(self) -> Needs:
        if self.slots is not None:
            return "joint"
        for need in ("spans", "labels", "value", "label"):
            if getattr(self, need) is not None:
                return need
        return "nothing"

    def examples(self, origin: Any, split: str) -> tuple[Examples, list[str]]:
        """The examples of one split, and all that is wrong with them."""
        if not isinstance(origin, Path):
            return self._collect(read_dataset(origin, self.columns), f"split {split!r}", "row", [], origin)
        complaints: list[tuple[int, str]] = []
        options = Options(self.encoding, self.quotes, self.columns)

        def report(number: int, complaint: str) -> None:
            complaints.append((number, complaint))

        if self.format is not None:
            rows, unit = read_annotated(origin, options, report, form=self.format, text=self.key), "line"
        else:
            rows, unit = read_rows(origin, options, report), unit_of(origin)
        return self._collect(rows, str(origin), unit, complaints)

    def _collect(
        self, rows: Rows, source: str, unit: str, complaints: list[tuple[int, str]], dataset: Any = None
    ) -> tuple[Examples, list[str]]:
        with closing(rows):  # type: ignore[type-var]  # every reader is a generator
            header = [str(name) for name in next(rows, (0, ()))[1]]
            if problem := _header_problem(self.columns, header):
                return Examples([], source=source), _told(complaints, source, unit) or [f"{source}: {problem}"]
            names = class_names(dataset, self.label or self.labels or "")
            empty = "" if unit == "row" else None  # tables other than text files have None in an empty cell
            found = self._rows(rows, {name: header.index(name) for name in self.columns}, complaints, names, empty)
            examples = Examples(found, source=source, unit=unit)
        unread = _told(complaints, source, unit)
        wrong = problems_of(examples, needs=self.needs, nested=self.nested, bounds=self.bounds) if len(examples) or not unread else []
        return examples, unread + wrong

    def _rows(
        self, rows: Rows, places: Mapping[str, int], complaints: list[tuple[int, str]], names: Sequence[str] | None, empty: str | None
    ) -> Iterator[Example]:
        loose = 0
        for number, cells in rows:
            text, label, pair, spans, labels, value, slots = (
                cells[places[name]] if name is not None else None
                for name in (self.text, self.label, self.pair, self.spans, self.labels, self.value, self.slots)
            )
            try:
                if self.spans is not None and _is_tags(text, spans):
                    tags: Any = spans
                    text, spans = from_tags(text, tags)
                    loose += loose_tags(tags)
                pair = "" if self.pair is not None and pair is None else pair
                labels = empty if self.labels is not None and labels is None else labels
                if self.slots is not None:
                    spans = to_slots(as_text(text) or "", empty if slots is None else slots)
                example = to_example(text, label, pair, spans=spans, labels=labels, value=value, line=number, names=names)
            except TypeError as wrong:
                complaints.append((number, str(wrong)))
            else:
                yield example
        if loose:
            log.warning("%d spans begin with I- instead of B-: they are read as spans, as conlleval and IOB1 read them", loose)


def _columns_of(form: str, pair: str | None) -> tuple[str, str]:
    if form not in COLUMNS:
        raise DataError(f"format={form!r} is none of {', '.join(COLUMNS)}; leave it out for tables with a column of texts")
    if pair is not None:
        raise DataError(f"format={form!r} has spans in single texts, and pair={pair!r} names a column of second ones")
    return COLUMNS[form]


def _is_tags(text: Any, spans: Any) -> bool:
    """Whether the cells are tokens and their tags: a list for a text, or strings for spans."""
    return isinstance(text, list) or (isinstance(spans, list) and any(isinstance(item, str) for item in spans))


def _told(complaints: Iterable[tuple[int, str]], source: str, unit: str) -> list[str]:
    return [f"{source}, {unit} {number}: {complaint}" for number, complaint in sorted(complaints)]


def _header_problem(columns: Sequence[str], header: Sequence[str]) -> str:
    """Which columns are not there or are there twice, with what can be done about it; nothing when all is well."""
    if not header:
        return "it is empty; the first row names the columns"
    missing = [f"there is no column {name!r}.{did_you_mean(name, header)}" for name in columns if name not in header]
    twice = [f"{header.count(name)} columns are called {name!r}." for name in columns if header.count(name) > 1]
    if not missing and not twice:
        return ""
    there = ", ".join(map(repr, header[:50]))
    choice = "Choose with text=, label=, pair=, spans=, labels=, value=, slots= (data.text, ...)."
    return f"{' '.join(missing + twice)} The columns are: {there}.{separator_hint(header)} {choice}"


def _parts(source: Any) -> Iterator[tuple[str, Any]]:
    """Split names and where each comes from: a path or a ``datasets`` object."""
    if isinstance(source, Mapping):
        if not source:
            raise DataError("load_data got an empty mapping; it maps splits to files, e.g. {'train': 'train.csv'}")
        for name, value in source.items():
            inner = list(_parts(value)) if not isinstance(value, Mapping) else []
            if len(inner) != 1:
                raise DataError(f"{name!r} is {brief(value)}, which is not one split; name one, e.g. hf://org/name#{name}")
            yield _ALIASES.get(str(name), str(name)), inner[0][1]
    elif isinstance(source, str) and source.startswith("hf://"):
        yield from _parts(_from_hub(source))
    elif isinstance(source, str | Path):
        yield "train", existing_file(source)
    elif hasattr(source, "column_names") and hasattr(source, "select_columns"):
        yield "train", source
    else:
        raise DataError(f"load_data cannot read {brief(source)}; it takes a file, hf://org/name, a datasets object or a mapping of splits")


def _from_hub(reference: str) -> Any:
    """A ``datasets`` object of the hub. No code of the data set is executed: ``datasets`` has had no such scripts since 4.0."""
    found = _HUB.fullmatch(reference)
    if found is None:
        raise DataError(f"{reference!r} is not of the form hf://org/name[@revision][:config][#split]")
    datasets = require("datasets", extra="train", purpose=f"Reading {reference}")
    try:
        with _obeying_offline(datasets.config):
            return datasets.load_dataset(found["id"], found["config"], split=found["split"], revision=found["revision"])
    except ConnectionError as wrong:
        if paths.offline():
            raise OfflineError(
                f"{reference} is not in the local cache, and NLPHUB_OFFLINE is set. Unset it once to download it."
            ) from wrong
        raise FetchError(f"{reference} cannot be fetched: {wrong}") from wrong
    except (ValueError, OSError, RuntimeError, datasets.exceptions.DatasetsError) as wrong:  # no such id, config or split; bad files
        raise DataError(f"{reference} cannot be read: {wrong}") from wrong


@contextmanager
def _obeying_offline(config: Any) -> Iterator[None]:
    """``datasets`` reads its own switch once, at import; ours holds at every call."""
    before = config.HF_HUB_OFFLINE
    config.HF_HUB_OFFLINE = before or paths.offline()
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE = before


def _with_split(parts: Mapping[str, Examples], split: Mapping[str, float], seed: int) -> dict[str, Examples]:
    if "train" not in parts:
        raise DataError(f"split={dict(split)!r} cuts parts off 'train', and there is only: {', '.join(parts)}")
    if both := [name for name in split if name in parts]:
        raise DataError(f"{both[0]!r} is both given and to be cut off 'train'; keep one")
    others = {name: part for name, part in parts.items() if name != "train"}
    return {**split_off(parts["train"], split, seed=seed), **others}
