"""Files of annotation tools and of segmented texts as rows of texts and their spans, the header first.

=================  ======================================================================================================
``conll``          a token and its tag (BIO, IOB1, BMES, BIOES, ...) on each line, an empty line behind each sentence
``doccano``        jsonl of doccano: ``label: [[start, end, name], ...]``, or ``entities`` with ``start_offset`` and ``end_offset``
``label-studio``   the JSON export of Label Studio, or its smaller JSON_MIN
``words``          words apart by spaces, a text on each line; ``.conll`` and ``.tsv``: a word and its tag on each line; ``.conllu``:
                   words and UPOS tags of Universal Dependencies; ``.jsonl`` and ``.json``: lists ``tokens`` and perhaps ``tags``
=================  ======================================================================================================

Offsets count code points. Label Studio counts the UTF-16 units of a browser: where the text that it wrote beside them shows so, they are
converted. Rows that cannot be read are reported, and reading goes on.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nlphub.data.encodings import open_text
from nlphub.data.spans import from_words
from nlphub.data.tables import Options, Report, Rows, json_values, read_conll, sentences
from nlphub.errors import DataError, brief

COLUMNS: dict[str, tuple[str, str]] = {  # of the rows: texts (or tokens), spans (or tags)
    "conll": ("tokens", "tags"),
    "doccano": ("text", "spans"),
    "label-studio": ("text", "spans"),
    "words": ("text", "spans"),
}
UPOS = 3  # column of CoNLL-U, from 0


def read_annotated(path: Path, options: Options, report: Report, *, form: str, text: str) -> Rows:
    """The rows of a file in one of the formats above; their header is that of :data:`COLUMNS`.

    Args:
        text: key of the texts in files of annotation tools.

    Raises:
        DataError: the encoding of the file is not known, or it is a table.
    """
    return _READERS[form](path, options, report, text)


def _conll(path: Path, options: Options, report: Report, text: str) -> Rows:
    return read_conll(path, options, report)


def _doccano(path: Path, options: Options, report: Report, text: str) -> Rows:
    yield 0, COLUMNS["doccano"]
    for number, value in _objects(path, options, report):
        if text not in value:
            report(number, f"there is no key {text!r} among {_keys(value)}; name that of the texts with text=")
            continue
        spans = next((value[key] for key in ("entities", "label", "labels", "spans") if key in value), None)
        yield number, [value[text], spans]


def _label_studio(path: Path, options: Options, report: Report, text: str) -> Rows:
    yield 0, COLUMNS["label-studio"]
    for number, value in _objects(path, options, report):
        try:
            shown = _shown(value.get("data", value), text)
            yield number, [shown, [*_studio_spans(_results(value), shown)]]
        except TypeError as wrong:
            report(number, str(wrong))


def _shown(data: Any, key: str) -> str:
    """The text of a task: under ``key``, or the only string there is."""
    if not isinstance(data, Mapping):
        raise TypeError(f"'data' is {brief(data)}, not an object with a text")
    texts = [name for name, value in data.items() if isinstance(value, str)]
    name = key if key in data else texts[0] if len(texts) == 1 else None
    if name is None or not isinstance(data[name], str):
        raise TypeError(f"there is no text under the key {key!r} of {_keys(data)}; name it with text=")
    return str(data[name])


def _results(task: Mapping[str, Any]) -> Sequence[Any]:
    """The marked regions of a task.

    Raises:
        TypeError: it was not annotated, or more than once.
    """
    if "annotations" not in task and "completions" not in task:
        regions = next((task[key] for key in ("label", "labels") if key in task), None)
        if not isinstance(regions, list):
            raise TypeError("neither 'annotations' (JSON) nor a list 'label' (JSON_MIN): export with one of these two")
        return [{"type": "labels", "value": region} for region in regions]
    given = task.get("annotations", task.get("completions"))
    kept = [one for one in given if isinstance(one, Mapping) and not one.get("was_cancelled")] if isinstance(given, list) else []
    if len(kept) != 1 or not isinstance(kept[0].get("result"), list):
        raise TypeError(f"{len(kept)} annotations with a result, and one is needed: annotate the text, or delete all others")
    return list(kept[0]["result"])


def _studio_spans(results: Sequence[Any], text: str) -> Iterator[list[Any]]:
    for result in results:
        if not isinstance(result, Mapping) or not isinstance(result.get("value", {}), Mapping):
            raise TypeError(f"{brief(result)} is not a marked region")
        value = result.get("value", {})
        labels = value.get("labels", value.get("hypertextlabels"))
        if labels is None:
            continue  # relations, choices and other things that are no spans
        if not isinstance(labels, list) or type(value.get("start")) is not int or type(value.get("end")) is not int:
            raise TypeError(f"{brief(value)} is not a region with start, end and labels")
        start, end = _code_points(text, value["start"], value["end"], value.get("text"))
        yield from ([start, end, label] for label in labels)


def _code_points(text: str, start: int, end: int, marked: Any) -> tuple[int, int]:
    """The place in code points, by what Label Studio says stands there; as given where it says nothing.

    Raises:
        TypeError: something else stands there, in code points as in UTF-16 units.
    """
    if not isinstance(marked, str) or text[max(start, 0) : max(end, 0)] == marked:
        return start, end
    units = text.encode("utf-16-le", "surrogatepass")
    before, inside = (units[2 * max(a, 0) : 2 * max(b, 0)].decode("utf-16-le", "replace") for a, b in ((0, start), (start, end)))
    if inside != marked:
        raise TypeError(f"{start}:{end} is marked as {brief(marked)}, and the text has {brief(text[max(start, 0) : max(end, 0)])} there")
    return len(before), len(before) + len(inside)


def _words(path: Path, options: Options, report: Report, text: str) -> Rows:
    yield 0, COLUMNS["words"]
    for number, words, tags in _word_rows(path, options, report):
        try:
            joined, spans = from_words(words, tags)
            yield number, [joined, spans]
        except TypeError as wrong:
            report(number, str(wrong))


def _word_rows(path: Path, options: Options, report: Report) -> Iterator[tuple[int, Any, Any]]:
    """Line, words and tags (or ``None``) of each text, by the kind of file."""
    suffix = path.suffix.lower()
    if suffix in (".json", ".jsonl"):
        for number, value in _objects(path, options, report):
            if "tokens" not in value:
                report(number, f"there is no list 'tokens' of words among {_keys(value)}")
            else:
                yield number, value["tokens"], next((value[key] for key in ("tags", "pos") if key in value), None)
    elif suffix in (".conll", ".tsv"):
        yield from ((number, *cells) for number, cells in read_conll(path, options, report) if number)
    elif suffix == ".conllu":
        with open_text(path, options.encoding) as stream:
            yield from ((number, *cells) for number, cells in sentences(_conllu(stream), report))
    elif suffix in (".csv", ".xlsx", ".parquet"):
        raise DataError(f"{path}: format 'words' reads lines of words (.txt), .conll, .tsv, .conllu, .jsonl and .json, and no tables")
    else:
        with open_text(path, options.encoding) as stream:
            yield from ((number, line.split(), None) for number, line in enumerate(stream, start=1) if line.strip())


def _conllu(stream: Iterator[str]) -> Iterator[tuple[int, Sequence[str]]]:
    """Words and their UPOS tags; comments, ranges of words (``1-2``) and empty nodes (``1.1``) are passed over."""
    for number, line in enumerate(stream, start=1):
        fields = line.strip("\r\n").split("\t")
        if not line.strip():
            yield number, ()
        elif not line.startswith("#") and not {"-", "."} & {*fields[0]}:
            yield number, (fields[1], fields[UPOS]) if len(fields) > UPOS else (line.rstrip(),)


def _objects(path: Path, options: Options, report: Report) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, value in json_values(path, options, report):
        if isinstance(value, Mapping):
            yield number, value
        else:
            report(number, f"{brief(value)} is not an object with keys")


def _keys(value: Mapping[str, Any]) -> str:
    return ", ".join(map(repr, list(value)[:20])) or "no keys"


_READERS: dict[str, Callable[[Path, Options, Report, str], Rows]] = {
    "conll": _conll,
    "doccano": _doccano,
    "label-studio": _label_studio,
    "words": _words,
}
