"""What an exported folder is: ``nlphub.json``, its checks, and the names of the files beside it.

nlphub.json            this file: task, labels, calibration, digests of all other files and of the recipe, versions, measured parity
onnx/model.onnx        input_ids, attention_mask, token_type_ids, int64 [batch, sequence] -> logits; of joint -> intents, slots
onnx/model_text.onnx   texts -> label, score, accepted, labels, scores: for any language's onnxruntime (nlphub.export.textgraph);
                       not there where a module has none
                       (where it is there, it holds the weights of onnx/model.onnx too, which opens from its folder)
onnx/model_int8.onnx   the same two graphs with matrices and embeddings of 8 bits, if they were asked for and passed (nlphub.export.gate),
onnx/model_text_int8.onnx
onnx/model_fp16.onnx   and the first of them with an encoder in float16, for graphics cards, if it was asked for
references.safetensors what some calibrations compare with
config.json            sizes and id2label under the names that Hugging Face's tools read
model.safetensors      the weights under their names, and tokenizer.json, tokenizer_config.json: the folder opens in `transformers`;
                       not there for heads that it has no network for
nlphub_tokenizer.json  and the tokenizer's other files, vocab.txt and folds.tsv
README.md              the card

What a Predictor reads is compared with its digest each time it is opened; of the rest only that it is there, in its size.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from nlphub.calibration import Calibration, problems
from nlphub.errors import InputError, StoreError, did_you_mean
from nlphub.files import sha256
from nlphub.tasks.tokens import decoding_problems

FACTS, GRAPH, CONFIG, CARD = "nlphub.json", "onnx/model.onnx", "config.json", "README.md"
TEXT_GRAPH, WEIGHTS = "onnx/model_text.onnx", "model.safetensors"
INT8_GRAPH, INT8_TEXT_GRAPH, HALF_GRAPH = "onnx/model_int8.onnx", "onnx/model_text_int8.onnx", "onnx/model_fp16.onnx"
GRAPHS = {"fp32": GRAPH, "int8": INT8_GRAPH, "fp16": HALF_GRAPH}  # of ids, by what they compute with
TEXT_GRAPHS = {"fp32": TEXT_GRAPH, "int8": INT8_TEXT_GRAPH}
INPUTS, OUTPUT = ("input_ids", "attention_mask", "token_type_ids"), "logits"
TEXTS, PAIRS = "texts", "pairs"
OUTPUTS = {"joint": ("intents", "slots")}  # of tasks whose graph has several: [batch, intents] and [batch, sequence, tags]
COMPARE_GRAPH, VECTOR, VECTORS = "onnx/compare.onnx", "vector", ("first", "second")  # of a bi-encoder
ANSWERS = ("label", "score", "accepted", "labels", "scores")
SCHEMA = 3

_MAX_FACTS = 4 << 20  # bytes
_FOR_OTHERS = {*GRAPHS.values(), *TEXT_GRAPHS.values(), WEIGHTS, "tokenizer.json", "tokenizer_config.json"}


@dataclass(frozen=True, slots=True)
class Artefact:
    """The facts of an exported folder that running it needs.

    Attributes:
        folder: where it lies.
        task: the task of its head.
        variant: of the head, where its task has several.
        decoding: what decoding needs of the head besides its logits.
        precision: of the graph that runs: ``"fp32"``, ``"int8"`` or ``"fp16"``.
        labels: in the order of the logits.
        calibration: how logits become answers.
        max_length: tokens of a sequence, special ones included; longer texts are cut.
        tokenizer: digest of the tokenizer that the weights were made with.
        files: path inside the folder -> SHA-256.
    """

    folder: Path
    task: str
    labels: tuple[str, ...]
    calibration: Calibration
    max_length: int
    tokenizer: str
    files: Mapping[str, str]
    variant: str | None = None
    decoding: Mapping[str, Any] = field(default_factory=dict)
    precision: str = "fp32"

    @property
    def graph(self) -> Path:
        """The ONNX file."""
        return self.folder / GRAPHS[self.precision]

    @classmethod
    def load(cls, folder: Path, *, precision: str = "fp32") -> "Artefact":
        """Read ``nlphub.json`` and compare every file that running needs with its digest.

        Raises:
            StoreError: the folder is no artefact, is damaged, or was made by a newer nlphub; all mistakes at once.
            InputError: it has no graph of this precision.
        """
        facts = _read(folder / FACTS)
        wrong = [*_problems(facts)]
        if not wrong:
            _require_graph(folder, precision, facts["files"])
            wrong = [*_damage(folder, facts["files"], _opened(facts, GRAPHS[precision]))]
        if wrong:
            lines = "\n".join(f"  - {problem}" for problem in wrong)
            raise StoreError(f"The artefact {folder} cannot be used:\n{lines}\nExport it again: module.export(...) or `nlphub export`.")
        return cls(
            folder=folder,
            task=facts["task"],
            labels=tuple(facts["labels"]),
            calibration=_calibration(facts["calibration"], folder),
            max_length=facts["max_length"],
            tokenizer=facts["tokenizer"]["digest"],
            files={path: entry["sha256"] for path, entry in facts["files"].items()},
            variant=facts.get("variant"),
            decoding=facts.get("decoding", {}),
            precision=precision,
        )


def _calibration(facts: Mapping[str, Any], folder: Path) -> Calibration:
    try:
        return Calibration.of(facts, folder)
    except InputError as wrong:
        raise StoreError(f"The artefact {folder} cannot be used: {wrong}") from wrong


def describe(folder: Path) -> dict[str, dict[str, int | str]]:
    """``{path: {bytes, sha256}}`` of every file of a folder but ``nlphub.json``, as it stands there under ``files``."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / FACTS)
    return {path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256(path)} for path in paths}


def foreign_files(folder: Path) -> list[str]:
    """What an export into ``folder`` would destroy: everything that is not part of an artefact there, by path, sorted."""
    if not folder.exists():
        return []
    if not folder.is_dir():
        return [folder.name]
    try:
        known = {FACTS, *_read(folder / FACTS, older=True)["files"]}
    except (StoreError, KeyError, TypeError):
        known = set()
    return sorted(path for found in folder.rglob("*") if found.is_file() and (path := found.relative_to(folder).as_posix()) not in known)


def _read(path: Path, *, older: bool = False) -> dict[str, Any]:
    if not path.is_file():
        raise StoreError(f"{path.parent} is no exported folder: it has no {FACTS}. Make one with module.export(...) or `nlphub export`.")
    if path.stat().st_size > _MAX_FACTS:
        raise StoreError(f"{path} is larger than {_MAX_FACTS:,} bytes: nlphub never writes such a file")
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as broken:
        raise StoreError(f"{path} is not valid JSON: {broken}") from broken
    schema = facts.get("schema") if isinstance(facts, dict) else None
    if type(schema) is not int or schema < 1:
        raise StoreError(f"{path} is not the description of an exported folder: it has no 'schema'")
    if schema > SCHEMA:
        raise StoreError(f"{path} has schema {schema}; this nlphub reads {SCHEMA}. Update it: pip install -U nlphub")
    if schema < SCHEMA and not older:
        raise StoreError(
            f"{path} has schema {schema}, from an older nlphub; this one reads {SCHEMA}. "
            "Export it again from its run: `nlphub export RUN FOLDER`"
        )
    return dict(facts)


def _problems(facts: Mapping[str, Any]) -> Iterator[str]:
    labels, files, tokenizer = facts.get("labels"), facts.get("files"), facts.get("tokenizer")
    if not isinstance(facts.get("task"), str):
        yield f"task: expected a name, found {facts.get('task')!r}"
    if not isinstance(labels, list) or not labels or not all(isinstance(label, str) for label in labels):
        yield f"labels: expected a list of names, found {str(labels)[:80]}"
    if not isinstance(facts.get("calibration"), dict):
        yield f"calibration: expected a table, found {facts.get('calibration')!r}"
    else:
        yield from problems(facts["calibration"])
    if type(facts.get("max_length")) is not int or facts["max_length"] < 3:
        yield f"max_length: expected a whole number of at least 3, found {facts.get('max_length')!r}"
    yield from decoding_problems(facts.get("task"), facts.get("variant"), facts.get("decoding", {}), labels)
    if not isinstance(tokenizer, dict) or not isinstance(tokenizer.get("digest"), str):
        yield "tokenizer: expected its digest"
    if not isinstance(files, dict) or not all(isinstance(entry, dict) and isinstance(entry.get("sha256"), str) for entry in files.values()):
        yield "files: expected a table of paths with 'sha256'"
    elif GRAPH not in files:
        yield f"files: {GRAPH} is not among them"
    elif facts.get("variant") == "bi-encoder" and COMPARE_GRAPH not in files:
        yield f"files: {COMPARE_GRAPH} is not among them, which a bi-encoder needs"
    else:
        yield from (f"files: {path!r} leaves the folder" for path in files if not _is_inside(path))
        held = facts.get("weights_in", {})
        if not isinstance(held, dict) or not all(isinstance(path, str) and path in files for path in (*held, *held.values())):
            yield f"weights_in: expected a table of files, found {str(held)[:80]}"


def _opened(facts: Mapping[str, Any], graph: str) -> set[str]:
    """The files that onnxruntime opens for a graph: itself, and the one that holds its weights."""
    return {graph, facts.get("weights_in", {}).get(graph, graph)}


def _require_graph(folder: Path, precision: str, files: Mapping[str, Any]) -> None:
    if precision not in GRAPHS:
        raise InputError(f"precision={precision!r} is none of {', '.join(GRAPHS)}.{did_you_mean(str(precision), GRAPHS)}")
    if GRAPHS[precision] not in files:
        there = ", ".join(name for name, path in GRAPHS.items() if path in files)
        option = "--fp16" if precision == "fp16" else "--int8 auto"
        raise InputError(f"{folder} has no {precision} graph, only {there}. Export it with one: nlphub export RUN {folder} {option}")


def _damage(folder: Path, files: Mapping[str, Mapping[str, Any]], opened: Collection[str]) -> Iterator[str]:
    for path, entry in sorted(files.items()):
        if path == CARD:
            continue  # for people, who may write into it
        if not (folder / path).is_file():
            yield f"{path} is missing"
        elif path in _FOR_OTHERS and path not in opened:
            if (size := (folder / path).stat().st_size) != entry.get("bytes"):
                yield f"{path} has changed since it was exported: {size:,} bytes"
        elif (found := sha256(folder / path)) != entry["sha256"]:
            yield f"{path} has changed since it was exported: sha256 {found}, expected {entry['sha256']}"


def _is_inside(path: str) -> bool:
    parts = PurePosixPath(path)
    return not parts.is_absolute() and ".." not in parts.parts and "\\" not in path and ":" not in path and "\0" not in path
