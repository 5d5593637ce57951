"""A module as a folder that needs no torch: ONNX graph, tokenizer, labels, calibration, and the proof that it agrees with the module.

Notation: ``b`` sequences of a batch.
"""

import contextlib
import copy
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nlphub import __version__
from nlphub.calibration import NEUTRAL, Calibration, softmax
from nlphub.checkpoints.huggingface import config_to_huggingface
from nlphub.checkpoints.native import weights_digest
from nlphub.data.batching import pack, pad
from nlphub.errors import ExportError, require
from nlphub.export.card import card_text
from nlphub.files import publish_folder, publish_json, publish_text
from nlphub.nn.dense import DenseModel
from nlphub.nn.encoder import Encoder, to_tensors
from nlphub.nn.heads import Head
from nlphub.runtime import artefact
from nlphub.runtime.session import open_session
from nlphub.tasks import outputs_of
from nlphub.text.encoding import Encoded
from nlphub.text.tokenizers import Tokenizer

TOLERANCE = 1e-4  # largest difference of probabilities, and of logits relative to the largest of them, that an export may have
OPSET = 18

_TASKS = ("seq-cls", "token-cls")


@dataclass(frozen=True, slots=True)
class Parity:
    """How far the graph is from the module, measured on random texts of lengths from 2 tokens to the longest.

    Attributes:
        logits: largest absolute difference.
        probabilities: largest absolute difference.
        largest_logit: for scale.
        texts: sequences compared.
        tolerance: what was allowed (see :data:`TOLERANCE`).
        torch: version of the module's side.
        onnxruntime: version of the graph's side.
    """

    logits: float
    probabilities: float
    largest_logit: float
    texts: int
    tolerance: float
    torch: str
    onnxruntime: str

    @property
    def holds(self) -> bool:
        """Whether both differences are within the tolerance (a difference that is not a number is not)."""
        return self.probabilities <= self.tolerance and self.logits <= self.tolerance * max(1.0, self.largest_logit)


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export wrote.

    Attributes:
        folder: the artefact.
        parity: how far it is from the module.
        files: path -> bytes.
    """

    folder: Path
    parity: Parity
    files: Mapping[str, int]


def export_artefact(
    folder: Path,
    *,
    encoder: Encoder,
    head: Head,
    tokenizer: Tokenizer,
    labels: Sequence[str],
    card: Mapping[str, Any],
    calibration: Calibration = NEUTRAL,
) -> ExportReport:
    """Write an artefact (see :mod:`nlphub.runtime.artefact`) that ``nlphub.Predictor`` runs; it appears whole or not at all.

    Args:
        folder: an older artefact there is replaced; any other folder with files in it is refused.
        labels: of the module.
        card: facts about the module: ``architecture``, ``licence``, ``metrics`` for the card; ``max_length`` in tokens, to which texts
            are cut (default: all that the network has positions for).
        calibration: how logits become answers.

    Raises:
        ExportError: the graph and the module differ by more than :data:`TOLERANCE`, the task has no export yet, or ``folder`` holds
            something else. Nothing is left behind.
        MissingExtraError: onnx or onnxscript are not installed.
    """
    require_exportable(folder, task=head.task)
    outputs = outputs_of(head.task, labels)
    if len(outputs) != head.labels:
        raise ExportError(f"The head gives {head.labels} logits, and its {len(labels)} labels need {len(outputs)}")
    model = DenseModel(copy.deepcopy(encoder), copy.deepcopy(head)).to("cpu", torch.float32).eval()
    with publish_folder(folder.absolute()) as temporary:
        write_graph(model, temporary / artefact.GRAPH)
        parity = _require_parity(measure_parity(model, temporary / artefact.GRAPH, tokenizer))
        tokenizer.save(temporary)
        calibration.write(temporary)
        publish_json(temporary / artefact.CONFIG, config_to_huggingface(encoder.config, labels=outputs))
        publish_text(temporary / artefact.CARD, card_text(card, task=head.task, labels=labels, parity=asdict(parity)))
        files = artefact.describe(temporary)
        facts = {
            "architecture": card.get("architecture"),
            "calibration": calibration.as_dict(),
            "files": files,
            "labels": list(labels),
            "max_length": card.get("max_length", min(tokenizer.max_length, encoder.config.positions)),
            "nlphub": __version__,
            "opset": OPSET,
            "parity": asdict(parity),
            "schema": artefact.SCHEMA,
            "task": head.task,
            "tokenizer": {"digest": tokenizer.digest},
            "weights": weights_digest(encoder, head),
        }
        publish_json(temporary / artefact.FACTS, facts)
    return ExportReport(folder, parity, {path: int(entry["bytes"]) for path, entry in files.items()})


def require_exportable(folder: Path, *, task: str) -> None:
    """Check everything about an export that can be known before there are weights.

    Raises:
        ExportError: the task has no export yet, or ``folder`` holds something other than an artefact.
        MissingExtraError: onnx or onnxscript are not installed.
    """
    for package in ("onnx", "onnxscript"):
        require(package, extra="train", purpose="Exporting a module")
    if task not in _TASKS:
        raise ExportError(f"Task {task!r} has no export yet; {', '.join(_TASKS)} has")
    if foreign := artefact.foreign_files(folder):
        raise ExportError(
            f"{folder} holds something other than an exported module ({', '.join(foreign[:5])}), so it is left alone. "
            "Give the export a folder of its own."
        )


def write_graph(model: DenseModel, path: Path) -> None:
    """Write ``model`` as one ONNX file with dynamic batch and sequence."""
    import onnx

    # Three tensors: the exporter takes one object that is passed twice for one input.
    inputs = tuple(torch.ones(2, 8, dtype=torch.int64) for _ in artefact.INPUTS)
    named = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")}
    same = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}  # as the first input; a second name for the same size is warned about
    with _quiet_exporter():
        program = torch.onnx.export(
            model,
            inputs,
            dynamo=True,
            input_names=list(artefact.INPUTS),
            output_names=[artefact.OUTPUT],
            dynamic_shapes=[named, same, same],
            opset_version=OPSET,
            verbose=False,
        )
    if program is None:
        raise ExportError("torch.onnx.export gave no graph")
    graph = program.model_proto
    _strip(graph.graph)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(graph, path)


def measure_parity(model: DenseModel, graph: Path, tokenizer: Tokenizer) -> Parity:
    """Compare the graph, on padded batches, with the module on packed rows: the way it runs in Python."""
    session = open_session(graph)
    pairs = []
    for lengths in _shapes(min(model.encoder.config.positions, tokenizer.max_length)):
        encoded, rows = _random_texts(lengths, tokenizer), np.arange(len(lengths))
        padded = pad(encoded, rows, pad_id=tokenizer.pad_id)
        with torch.inference_mode():
            packed = to_tensors(pack(encoded, rows))
            expected = model.head(model.encoder(packed, rows=model.head.rows), packed).numpy()
        (found,) = session.run([artefact.OUTPUT], dict(zip(artefact.INPUTS, padded, strict=True)))
        pairs.append((expected, found if model.head.rows == "cls" or model.head.per_text else found[padded[1] != 0]))
    expected, found = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return Parity(
        logits=float(np.abs(expected - found).max()),
        probabilities=float(np.abs(softmax(expected) - softmax(found)).max()),
        largest_logit=float(np.abs(expected).max()),
        texts=len(expected),
        tolerance=TOLERANCE,
        torch=str(torch.__version__),
        onnxruntime=version("onnxruntime"),
    )


def _require_parity(parity: Parity) -> Parity:
    if parity.holds:
        return parity
    raise ExportError(
        f"The exported graph is not the module: on {parity.texts} texts logits differ by up to {parity.logits:.2g} (the largest logit is "
        f"{parity.largest_logit:.3g}) and probabilities by up to {parity.probabilities:.2g}; {parity.tolerance:g} is allowed. "
        f"Nothing was written. Please report this, with torch {parity.torch} and onnxruntime {parity.onnxruntime}."
    )


def _shapes(longest: int) -> Iterator[list[int]]:
    """Lengths of the compared batches: an empty text alone and among others, ragged, equal, up to the longest."""
    for lengths in ([2], [7, 2, 5], [64] * 4, [longest, 2, 100, 33], list(range(2, 34))):
        yield [min(length, longest) for length in lengths]


def _random_texts(lengths: Sequence[int], tokenizer: Tokenizer) -> Encoded:
    """[CLS], random entries, [SEP]; the last third of each sequence has token type 1."""
    generator, total = np.random.default_rng(0), sum(lengths)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    ids = generator.integers(0, len(tokenizer.vocabulary), total)
    ids[starts[:-1]], ids[starts[1:] - 1] = tokenizer.cls_id, tokenizer.sep_id
    types = np.concatenate([np.arange(length) >= length - length // 3 for length in lengths]).astype(np.int64)
    return Encoded(ids, types, np.zeros((total, 2), np.int64), starts, np.zeros(len(lengths), np.bool_))


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence two things that say nothing about our graph; everything else the exporter says is heard."""
    log = logging.getLogger("torch.onnx._internal.exporter._registration")  # "torchvision is not installed"
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated", category=FutureWarning)
            yield
    finally:
        log.setLevel(level)


def _strip(graph: Any) -> None:
    """Drop the exporter's notes: they hold stack traces with paths of this machine."""
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
