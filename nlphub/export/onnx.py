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
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nlphub import __version__
from nlphub.calibration import NEUTRAL, Calibration, softmax
from nlphub.checkpoints import huggingface
from nlphub.checkpoints.huggingface_config import config_to_huggingface
from nlphub.checkpoints.native import weights_digest
from nlphub.data.batching import pack, pad
from nlphub.errors import ExportError, require
from nlphub.export import apart
from nlphub.export.card import card_text
from nlphub.files import publish_folder, publish_json, publish_text
from nlphub.nn.dense import DenseModel
from nlphub.nn.encoder import Encoder, to_tensors
from nlphub.nn.forms import variant_of
from nlphub.nn.heads import Head
from nlphub.nn.matching import BiEncoderHead
from nlphub.runtime import artefact
from nlphub.runtime.session import open_session
from nlphub.tasks import outputs_of
from nlphub.text.characters import CharacterTokenizer
from nlphub.text.encoding import Encoded
from nlphub.text.tokenizers import Tokenizer

if TYPE_CHECKING:
    from nlphub.export.textgraph import TextParity

TOLERANCE = 1e-4  # largest difference of probabilities, and of logits relative to the largest of them, that an export may have
OPSET = 18

_TASKS = ("seq-cls", "token-cls", "multi-label", "regression", "text-matching")


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
        folder: the artefact, the file of a single text graph, or the folder for ``transformers``.
        parity: how far the graph of ids is from the module; ``None`` where none was written.
        files: path -> bytes.
        text: how far the text graph is from the module (:class:`nlphub.export.textgraph.TextParity`), or why there is none.
    """

    folder: Path
    parity: Parity | None
    files: Mapping[str, int]
    text: "TextParity | str"


def export_artefact(
    folder: Path,
    *,
    encoder: Encoder,
    head: Head,
    tokenizer: Tokenizer,
    labels: Sequence[str],
    card: Mapping[str, Any],
    calibration: Calibration = NEUTRAL,
    pairs: bool | None = None,
    top_k: int = 5,
) -> ExportReport:
    """Write an artefact (see :mod:`nlphub.runtime.artefact`) that ``nlphub.Predictor`` runs; it appears whole or not at all.

    Args:
        folder: an older artefact there is replaced; any other folder with files in it is refused.
        labels: of the module.
        card: facts about the module: ``architecture``, ``licence``, ``metrics`` for the card; ``max_length`` in tokens, to which texts
            are cut (default: all that the network has positions for); ``recipe``, the digest of the recipe that made it.
        calibration: how logits become answers.
        pairs: whether the text graph takes two texts for each answer; default is what the task takes.
        top_k: candidates of an answer of the text graph.

    Raises:
        ExportError: the graph and the module differ by more than :data:`TOLERANCE`, the task has no export yet, or ``folder`` holds
            something else. Nothing is left behind.
        MissingExtraError: onnx or onnxscript are not installed.
    """
    require_exportable(folder, task=head.task)
    outputs = outputs_of(head.task, labels, variant_of(head))
    if len(outputs) != head.labels:
        raise ExportError(f"The head gives {head.labels} logits, and its {len(labels)} labels need {len(outputs)}")
    from nlphub.export import textgraph  # it imports onnx, which require_exportable has found

    model = DenseModel(copy.deepcopy(encoder), copy.deepcopy(head)).to("cpu", torch.float32).eval()
    length = card.get("max_length", min(tokenizer.max_length, encoder.config.positions))
    answering = textgraph.Answering(tokenizer, labels, calibration, length)
    settings = textgraph.TextSettings.of(head, pairs=pairs, top_k=top_k)
    facts = {
        "architecture": card.get("architecture"),
        "calibration": calibration.as_dict(),
        "decoding": head.decoding,
        "labels": list(labels),
        "max_length": length,
        "nlphub": __version__,
        "opset": OPSET,
        "recipe": card.get("recipe"),
        "task": head.task,
        "tokenizer": {"digest": tokenizer.digest},
        "variant": variant_of(head),
        "weights": weights_digest(encoder, head),
    }
    with publish_folder(folder.absolute()) as temporary:
        parity = _require_parity(_write_graphs(model, temporary, tokenizer))
        text: TextParity | str = textgraph.why_not(head, tokenizer) or textgraph.make_text_graph(
            temporary / artefact.TEXT_GRAPH,
            temporary / artefact.GRAPH,
            model,
            answering,
            settings=settings,
            facts=facts,
            tolerance=TOLERANCE,
        )
        tokenizer.save(temporary)
        calibration.write(temporary)
        _write_weights(temporary, model, tokenizer, outputs)
        measured = asdict(parity) | {"text_graph": text if isinstance(text, str) else asdict(text)}
        publish_text(temporary / artefact.CARD, card_text(card, task=head.task, labels=labels, parity=measured))
        files = artefact.describe(temporary)
        publish_json(temporary / artefact.FACTS, {**facts, "files": files, "parity": measured, "schema": artefact.SCHEMA})
    return ExportReport(folder, parity, {path: int(entry["bytes"]) for path, entry in files.items()}, text)


def _write_graphs(model: DenseModel, folder: Path, tokenizer: Tokenizer) -> Parity:
    """The graph of ids; of a bi-encoder one from a text to its vector, and one that compares two vectors."""
    if not isinstance(model.head, BiEncoderHead):
        write_graph(model, folder / artefact.GRAPH)
        return measure_parity(model, folder / artefact.GRAPH, tokenizer)
    write_graph(apart.text_model(model), folder / artefact.GRAPH, output=artefact.VECTOR)
    inputs, shapes = apart.compare_inputs(model.encoder.config.width)
    _write(
        apart.Compare(model.head).eval(), inputs, shapes, folder / artefact.COMPARE_GRAPH, names=artefact.VECTORS, output=artefact.OUTPUT
    )
    longest = min(model.encoder.config.positions, tokenizer.max_length)
    texts = (apart.as_pairs(_random_texts(lengths, tokenizer)) for lengths in _shapes(longest))
    return _parity([apart.both_sides(model, folder, pairs, tokenizer) for pairs in texts])


def _write_weights(folder: Path, model: DenseModel, tokenizer: Tokenizer, outputs: Sequence[str]) -> None:
    """config.json; beside it weights and tokenizer as ``transformers`` reads them, where it has such a network."""
    if isinstance(tokenizer, CharacterTokenizer) and not huggingface.why_not(model.head):
        huggingface.write_files(folder, encoder=model.encoder, tokenizer=tokenizer, head=model.head, labels=outputs)
    else:
        publish_json(folder / artefact.CONFIG, config_to_huggingface(model.encoder.config, labels=outputs, task=model.head.task))


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


def write_graph(model: DenseModel, path: Path, *, output: str = artefact.OUTPUT) -> None:
    """Write ``model`` as one ONNX file with dynamic batch and sequence, and one output of this name."""
    # Three tensors: the exporter takes one object that is passed twice for one input.
    inputs = tuple(torch.ones(2, 8, dtype=torch.int64) for _ in artefact.INPUTS)
    named = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")}
    same = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}  # as the first input; a second name for the same size is warned about
    _write(model, inputs, [named, same, same], path, names=artefact.INPUTS, output=output)


def _write(model: torch.nn.Module, inputs: tuple[Any, ...], shapes: list[Any], path: Path, *, names: Sequence[str], output: str) -> None:
    import onnx

    with _quiet_exporter():
        program = torch.onnx.export(
            model,
            inputs,
            dynamo=True,
            input_names=list(names),
            output_names=[output],
            dynamic_shapes=shapes,
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
    return _parity(pairs)


def _parity(pairs: Sequence[tuple[Any, Any]]) -> Parity:
    """Of logits of the module and of the graph, batch by batch."""
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
