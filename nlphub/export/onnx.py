"""A module as a folder that needs no torch: ONNX graph, tokenizer, labels, calibration, and the proof that it agrees with the module.

Notation: ``b`` sequences of a batch.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nlphub import __version__
from nlphub.calibration import NEUTRAL, Calibration, softmax
from nlphub.checkpoints import huggingface
from nlphub.checkpoints.huggingface_config import config_to_huggingface, family_of
from nlphub.checkpoints.native import weights_digest
from nlphub.data.batching import pack, pad
from nlphub.errors import ExportError, require
from nlphub.export import apart
from nlphub.export.card import card_text
from nlphub.export.tracing import quiet_exporter, strip_notes, uncollected
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
    from nlphub.export.reduced import Reduction
    from nlphub.export.textgraph import TextParity

TOLERANCE = 1e-4  # largest difference of probabilities, and of logits relative to the largest of them, that an export may have
OPSET = 18

Runner = Callable[[tuple[Any, ...]], list[Any]]  # what was exported: padded numpy inputs -> the head's outputs

_TASKS = ("seq-cls", "token-cls", "multi-label", "regression", "text-matching", "joint")


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
        reduced: what int8 and float16 cost and save (:func:`nlphub.export.reduced.add_graphs`), where they were asked for.
    """

    folder: Path
    parity: Parity | None
    files: Mapping[str, int]
    text: "TextParity | str"
    reduced: Mapping[str, Any] | None = None


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
    reduction: "Reduction | None" = None,
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
        reduction: int8 and float16 graphs to make besides.

    Raises:
        ExportError: the graph and the module differ by more than :data:`TOLERANCE`, the task has no export yet, ``folder`` holds
            something else, or a smaller graph loses too much. Nothing is left behind.
        InputError: the reduction cannot be; all mistakes at once.
        MissingExtraError: onnx or onnxscript are not installed.
    """
    require_exportable(folder, task=head.task)
    outputs = outputs_of(head.task, labels, variant_of(head))
    if len(outputs) != head.labels:
        raise ExportError(f"The head gives {head.labels} logits, and its {len(labels)} labels need {len(outputs)}")
    from nlphub.export import textgraph  # it imports onnx, which require_exportable has found
    from nlphub.export.reduced import Bench, add_graphs
    from nlphub.export.sharing import share

    if reduction is not None:
        reduction.check()

    model = DenseModel(copy.deepcopy(encoder), copy.deepcopy(head)).to("cpu", torch.float32).eval()
    length = card.get("max_length", min(tokenizer.max_length, encoder.config.positions))
    answering = textgraph.Answering(tokenizer, labels, calibration, length)
    settings = textgraph.TextSettings.of(head, pairs=pairs, top_k=top_k)
    facts = _facts(encoder, head, tokenizer, labels=labels, card=card) | {"calibration": calibration.as_dict(), "max_length": length}
    with publish_folder(folder.absolute()) as temporary:
        parity = require_parity(_write_graphs(model, temporary, tokenizer))
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
        held = {} if isinstance(text, str) else {artefact.GRAPH: artefact.TEXT_GRAPH}
        for graph, holder in held.items():
            share(temporary / graph, temporary / holder)
        facts |= {"files": artefact.describe(temporary), "parity": measured, "schema": artefact.SCHEMA, "weights_in": held}
        if reduction is not None and reduction.dev is not None and reduction.wanted:
            bench = Bench.open(temporary, facts, model.encoder, reduction.dev)
            facts["reduced"] = add_graphs(bench, reduction, answering=answering, settings=settings if held else None)
        publish_text(temporary / artefact.CARD, card_text(card, task=head.task, labels=labels, facts=facts))
        facts["files"] = files = artefact.describe(temporary)
        publish_json(temporary / artefact.FACTS, facts)
    return ExportReport(folder, parity, {path: int(entry["bytes"]) for path, entry in files.items()}, text, facts.get("reduced"))


def _facts(encoder: Encoder, head: Head, tokenizer: Tokenizer, *, labels: Sequence[str], card: Mapping[str, Any]) -> dict[str, Any]:
    """What the artefact says of the module that it was made from."""
    return {
        "architecture": card.get("architecture"),
        "decoding": head.decoding,
        "labels": list(labels),
        "nlphub": __version__,
        "opset": OPSET,
        "recipe": card.get("recipe"),
        "task": head.task,
        "tokenizer": {"digest": tokenizer.digest},
        "variant": variant_of(head),
        "weights": weights_digest(encoder, head),
    }


def _write_graphs(model: DenseModel, folder: Path, tokenizer: Tokenizer) -> Parity:
    """The graph of ids; of a bi-encoder one from a text to its vector, and one that compares two vectors."""
    if not isinstance(model.head, BiEncoderHead):
        write_graph(model, folder / artefact.GRAPH)
        return measure_parity(model, _runner(model, folder / artefact.GRAPH), tokenizer)
    write_graph(apart.text_model(model), folder / artefact.GRAPH, outputs=(artefact.VECTOR,))
    inputs, shapes = apart.compare_inputs(model.encoder.config.width)
    path, names = folder / artefact.COMPARE_GRAPH, artefact.VECTORS
    _write(apart.Compare(model.head).eval(), inputs, shapes, path, names=names, outputs=(artefact.OUTPUT,))
    longest = min(model.encoder.config.positions, tokenizer.max_length)
    texts = (apart.as_pairs(_random_texts(lengths, tokenizer)) for lengths in _shapes(longest))
    graphs = apart.sessions(folder)
    return _parity([apart.both_sides(model, graphs, pairs, tokenizer) for pairs in texts])


def _write_weights(folder: Path, model: DenseModel, tokenizer: Tokenizer, outputs: Sequence[str]) -> None:
    """config.json; beside it weights and tokenizer as ``transformers`` reads them, where it has such a network."""
    family = family_of(model.encoder.config)
    if isinstance(tokenizer, CharacterTokenizer) and family == "bert" and not huggingface.why_not(model.head):
        huggingface.write_files(folder, encoder=model.encoder, tokenizer=tokenizer, head=model.head, labels=outputs)
    else:
        publish_json(
            folder / artefact.CONFIG, config_to_huggingface(model.encoder.config, labels=outputs, task=model.head.task, model_type=family)
        )


def require_graphs(task: str) -> None:
    """Check that there can be graphs of a task at all. Raises as :func:`require_exportable`."""
    for package in ("onnx", "onnxscript"):
        require(package, extra="train", purpose="Exporting a module")
    if task not in _TASKS:
        raise ExportError(f"Task {task!r} has no export yet; {', '.join(_TASKS)} has")


def require_exportable(folder: Path, *, task: str) -> None:
    """Check everything about an export that can be known before there are weights.

    Raises:
        ExportError: the task has no export yet, or ``folder`` holds something other than an artefact.
        MissingExtraError: onnx or onnxscript are not installed.
    """
    require_graphs(task)
    if foreign := artefact.foreign_files(folder):
        raise ExportError(
            f"{folder} holds something other than an exported module ({', '.join(foreign[:5])}), so it is left alone. "
            "Give the export a folder of its own."
        )


def write_graph(model: DenseModel, path: Path, *, outputs: Sequence[str] | None = None) -> None:
    """Write ``model`` as one ONNX file with dynamic batch and sequence, and outputs of these names; default are those of the head."""
    inputs, shapes = example_inputs()
    _write(model, inputs, shapes, path, names=artefact.INPUTS, outputs=outputs or model.head.outputs)


def example_inputs() -> tuple[tuple[torch.Tensor, ...], list[Any]]:
    """What the dense model is traced with: ``input_ids``, ``attention_mask``, ``token_type_ids``, and which of their sizes are dynamic."""
    # Three tensors: the exporter takes one object that is passed twice for one input.
    inputs = tuple(torch.ones(2, 8, dtype=torch.int64) for _ in artefact.INPUTS)
    named = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")}
    same = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}  # as the first input; a second name for the same size is warned about
    return inputs, [named, same, same]


def _write(
    model: torch.nn.Module, inputs: tuple[Any, ...], shapes: list[Any], path: Path, *, names: Sequence[str], outputs: Sequence[str]
) -> None:
    import onnx

    with quiet_exporter(), uncollected():
        program = torch.onnx.export(
            model,
            inputs,
            dynamo=True,
            input_names=list(names),
            output_names=list(outputs),
            dynamic_shapes=shapes,
            opset_version=OPSET,
            verbose=False,
        )
    if program is None:
        raise ExportError("torch.onnx.export gave no graph")
    graph = program.model_proto
    strip_notes(graph.graph)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(graph, path)


def measure_parity(model: DenseModel, run: Runner, tokenizer: Tokenizer) -> Parity:
    """Compare what was exported, on padded batches, with the module on packed rows: the way it runs in Python."""
    head = model.head
    pairs: list[list[tuple[Any, Any]]] = [[] for _ in head.outputs]
    for lengths in _shapes(min(model.encoder.config.positions, tokenizer.max_length)):
        encoded, rows = _random_texts(lengths, tokenizer), np.arange(len(lengths))
        padded = pad(encoded, rows, pad_id=tokenizer.pad_id)
        with torch.inference_mode():
            packed = to_tensors(pack(encoded, rows))
            expected = head.parts(head(model.encoder(packed, rows=head.rows), packed), packed)
        for several, ours, theirs in zip(pairs, expected, run(padded), strict=True):
            several.append((ours.numpy(), theirs if theirs.ndim == 2 else theirs[padded[1] != 0]))
    return _worst([_parity(several) for several in pairs])


def _runner(model: DenseModel, graph: Path) -> Runner:
    session = open_session(graph, threads=torch.get_num_threads())  # both sides of the comparison alike
    return lambda given: session.run(list(model.head.outputs), dict(zip(artefact.INPUTS, given, strict=True)))


def _worst(parts: Sequence[Parity]) -> Parity:
    """Of the outputs of a graph: the largest differences, and of the relative one the output that is nearest to its limit."""
    far = max(parts, key=lambda one: one.logits / max(1.0, one.largest_logit))
    return replace(far, probabilities=max(one.probabilities for one in parts), texts=max(one.texts for one in parts))


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


def require_parity(parity: Parity) -> Parity:
    """The parity, if it holds. Raises ExportError otherwise."""
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
