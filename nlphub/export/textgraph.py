"""One ONNX file with everything between a string and its answer, for stock onnxruntime in any language.

It is the exported graph of ids with :mod:`nlphub.export.texttokens` before it and :mod:`nlphub.export.answers` behind it::

    texts  (b,) strings, UTF-8                       label     (b,) string: the best label, "" where it is rejected
    pairs  (b,) strings, of a module of pairs  ->    score     (b,) float32: probability of the best label, calibrated
                                                     accepted  (b,) bool: whether the confidence reaches the threshold
                                                     labels    (b, k) strings, the most probable first
                                                     scores    (b, k) float32: their probabilities

Which labels, thresholds, versions and digests are inside stands in its ``metadata_props``, as JSON values.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper

from nlphub import __version__
from nlphub.calibration import Calibration, Floats, confidences
from nlphub.data.batching import token_batches
from nlphub.errors import ExportError
from nlphub.export.answers import add_answers
from nlphub.export.nodes import DOMAINS, Nodes
from nlphub.export.probe import probe_pairs, probe_texts
from nlphub.export.sharing import aligned_bytes
from nlphub.export.texttokens import add_tokenizer
from nlphub.files import publish
from nlphub.nn.dense import DenseModel
from nlphub.nn.heads import Head
from nlphub.nn.inference import head_logits
from nlphub.runtime.artefact import ANSWERS, OUTPUT, PAIRS, TEXTS
from nlphub.runtime.textgraph import TextGraph
from nlphub.tasks import task_named
from nlphub.tasks.predictions import Prediction
from nlphub.text.characters import CharacterTokenizer
from nlphub.text.encoding import Encoded
from nlphub.text.tokenizers import Tokenizer

TASKS = ("seq-cls", "text-matching")  # tasks whose answers are those of nlphub.tasks.predictions.classify
PAIRED = ("text-matching",)  # those that always take two texts

BATCH_TOKENS = 2048  # of a batch of the proof, padding included: a quarter of it (with 8192 it would be three quarters)
_MARGIN = 1e-5  # answers that are this near to another one, or to their threshold, may differ


@dataclass(frozen=True, slots=True)
class TextSettings:
    """What a text graph is made for.

    Attributes:
        pairs: whether its second input is the second text of each pair; without, it takes single texts.
        top_k: candidates of an answer; at most as many as there are labels.
    """

    pairs: bool = False
    top_k: int = 5

    @classmethod
    def of(cls, head: Head, *, pairs: bool | None, top_k: int) -> "TextSettings":
        """For a head; ``pairs`` as its task has them, unless it is said.

        Raises:
            ExportError: a value that no graph can have.
        """
        if type(top_k) is not int or top_k < 1:
            raise ExportError(f"top_k={top_k!r} must be a whole number of at least 1")
        if pairs is False and head.task in PAIRED:
            raise ExportError(f"pairs=False, but task {head.task!r} answers for pairs of texts")
        return cls(head.task in PAIRED if pairs is None else pairs, top_k)


@dataclass(frozen=True, slots=True)
class Answering:
    """What a text graph answers with.

    Attributes:
        tokenizer: of the module.
        labels: in the order of the logits.
        calibration: of the module.
        max_length: tokens of a sequence.
    """

    tokenizer: Tokenizer
    labels: Sequence[str]
    calibration: Calibration
    max_length: int


@dataclass(frozen=True, slots=True)
class TextParity:
    """How far a text graph is from the module, from strings to answers.

    Attributes:
        texts: that were compared.
        probabilities: largest absolute difference.
        differ: answers with another label or another acceptance, although no other answer is within 1e-5.
        close: answers that differ where another one is within 1e-5.
        tolerance: allowed difference of probabilities.
    """

    texts: int
    probabilities: float
    differ: int
    close: int
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the graph may be written."""
        return self.probabilities <= self.tolerance and not self.differ


def why_not(head: Head, tokenizer: Tokenizer) -> str | None:
    """Why a module has no text graph; ``None`` for one that has."""
    if head.task not in TASKS:
        return f"the answers of task {head.task!r} do not fit into a graph of text yet; those of {' and '.join(TASKS)} do"
    if head.apart:
        return "its head reads the two texts of a pair each by itself, and the graph reads them as one sequence"
    if not isinstance(tokenizer, CharacterTokenizer):
        return "its tokenizer joins characters to pieces of words, which no standard operator does"
    return None


def write_text_graph(path: Path, body: Path, answering: Answering, *, settings: TextSettings, facts: Mapping[str, Any]) -> None:
    """Write a text graph.

    Args:
        body: the graph of ids, from :func:`nlphub.export.onnx.write_graph` or made from one.
        facts: for ``metadata_props``: plain values.

    Raises:
        ExportError: the tokenizer or the calibration have no form as a graph.
    """
    if not isinstance(answering.tokenizer, CharacterTokenizer):
        raise ExportError("Only a tokenizer of characters fits into a graph")
    model, nodes = onnx.load(body), Nodes()
    texts, pairs, count = _guarded(nodes, pairs=settings.pairs)
    add_tokenizer(nodes, texts, pairs, tokenizer=answering.tokenizer, max_length=answering.max_length)
    behind = len(nodes.nodes)
    add_answers(nodes, OUTPUT, count, labels=answering.labels, calibration=answering.calibration, top_k=settings.top_k)
    network = list(model.graph.node)
    del model.graph.node[:], model.graph.value_info[:], model.graph.input[:], model.graph.output[:]
    model.graph.node.extend([*nodes.nodes[:behind], *network, *nodes.nodes[behind:]])
    model.graph.initializer.extend(nodes.constants)
    _declare(model.graph, pairs=settings.pairs, candidates=min(settings.top_k, len(answering.labels)))
    _describe(model, facts)
    with publish(path) as stream:
        stream.write(aligned_bytes(model))  # other graphs of this network read its weights here, see nlphub.export.sharing


def make_text_graph(
    path: Path, body: Path, model: DenseModel, answering: Answering, *, settings: TextSettings, facts: Mapping[str, Any], tolerance: float
) -> TextParity:
    """Write a text graph (see :func:`write_text_graph`) and prove it on :mod:`nlphub.export.probe`.

    Raises:
        ExportError: as :func:`write_text_graph`, or its answers are not those of the module.
    """
    write_text_graph(path, body, answering, settings=settings, facts=facts)
    assert isinstance(answering.tokenizer, CharacterTokenizer)
    probe: Sequence[Any] = (probe_pairs if settings.pairs else probe_texts)(answering.tokenizer, max_length=answering.max_length)
    parity = measure_text_parity(path, model, answering, probe, tolerance=tolerance)
    if parity.holds:
        return parity
    raise ExportError(
        f"The text graph does not answer as the module: on {parity.texts} texts probabilities differ by up to {parity.probabilities:.2g} "
        f"({parity.tolerance:g} is allowed) and {parity.differ} answers differ that are not close to another one. Nothing was written. "
        "Please report this, with the versions of torch and onnxruntime."
    )


def measure_text_parity(graph: Path, model: DenseModel, answering: Answering, probe: Sequence[Any], *, tolerance: float) -> TextParity:
    """Compare a text graph with the module on strings, or on pairs of them where the graph takes pairs."""
    return text_parity(
        graph, model.head.task, answering, probe, lambda encoded: head_logits(model.encoder, model.head, encoded), tolerance=tolerance
    )


def text_parity(
    graph: Path, name: str, answering: Answering, probe: Sequence[Any], logits_of: Callable[[Encoded], Floats], *, tolerance: float
) -> TextParity:
    """Compare a text graph with what a task makes of logits.

    Args:
        name: of the task.
        logits_of: the tokenised strings -> ``(b, n)``.
    """
    task = task_named(name)
    inputs = task.read(list(probe), answering.tokenizer, max_length=answering.max_length)
    logits = logits_of(inputs.encoded)
    expected = task.decode(logits, inputs, answering.labels, top_k=len(answering.labels), calibration=answering.calibration)
    session = TextGraph(graph, threads=torch.get_num_threads())
    batches = token_batches(inputs.encoded.lengths, max_tokens=BATCH_TOKENS)  # as a caller with little memory would send them
    found = {row: answer for rows in batches for row, answer in zip(rows.tolist(), session([probe[row] for row in rows]), strict=True)}
    return compare(expected, [found[row] for row in range(len(probe))], logits, answering, tolerance=tolerance)


def compare(
    expected: Sequence[Prediction], found: Sequence[Prediction], logits: Floats, answering: Answering, *, tolerance: float
) -> TextParity:
    """How far answers are from those of the module.

    Args:
        expected: of the module, with all labels as candidates.
        found: of a graph, in the same order, with some of them.
        logits: ``(b, n)`` of the module.
    """
    apart, differ = [0.0], []
    for ours, theirs in zip(expected, found, strict=True):
        probabilities = dict(ours.top)
        apart += [abs(score - probabilities[name]) for name, score in theirs.top]
        differ.append((ours.label, ours.top[0][0], ours.accepted) != (theirs.label, theirs.top[0][0], theirs.accepted))
    close = _margins(expected, logits, answering) <= _MARGIN
    wrong = np.array(differ, np.bool_)
    return TextParity(len(expected), float(max(apart)), int((wrong & ~close).sum()), int((wrong & close).sum()), tolerance)


def _margins(expected: Sequence[Prediction], logits: Floats, answering: Answering) -> Floats:
    """``(b,)`` how far each answer is from another one: from the second label, and from the threshold, relative where that is large."""
    calibration = answering.calibration
    needed = np.array([calibration.thresholds.get(answer.top[0][0], calibration.threshold) for answer in expected])
    confidence = confidences(logits, calibration)
    second = np.array([answer.top[0][1] - answer.top[1][1] for answer in expected])
    return np.asarray(np.minimum(second, np.abs(confidence - needed) / np.maximum(1.0, np.abs(confidence))))


def _guarded(nodes: Nodes, *, pairs: bool) -> tuple[str, str | None, str]:
    """Names of the texts and pairs, never none of them, and of the ``(1,)`` number of texts that were given.

    A network of no rows is a special case for some operators, so an empty batch gets one empty text, whose answer is cut off again.
    """
    count = nodes.add("Shape", TEXTS)
    spare = nodes.add("Slice", nodes.strings([""]), [0], nodes.cast(nodes.add("Equal", count, [0]), "int64"), [0])
    texts = nodes.add("Concat", TEXTS, spare, axis=0)
    return texts, nodes.add("Concat", PAIRS, spare, axis=0) if pairs else None, count


def _declare(graph: onnx.GraphProto, *, pairs: bool, candidates: int) -> None:
    """Names, types and shapes of what goes in and comes out."""
    names = [TEXTS, PAIRS] if pairs else [TEXTS]
    graph.input.extend(helper.make_tensor_value_info(name, TensorProto.STRING, ["batch"]) for name in names)
    kinds = (TensorProto.STRING, TensorProto.FLOAT, TensorProto.BOOL, TensorProto.STRING, TensorProto.FLOAT)
    one: list[str | int] = ["batch"]
    shapes = [one, one, one, [*one, candidates], [*one, candidates]]
    graph.output.extend(helper.make_tensor_value_info(*each) for each in zip(ANSWERS, kinds, shapes, strict=True))


def _describe(model: onnx.ModelProto, facts: Mapping[str, Any]) -> None:
    """Operator sets, producer and ``metadata_props``."""
    have = {each.domain for each in model.opset_import}
    model.opset_import.extend(helper.make_opsetid(domain, number) for domain, number in DOMAINS.items() if domain not in have)
    model.producer_name, model.producer_version = "nlphub", __version__
    helper.set_model_props(model, {name: json.dumps(value, ensure_ascii=False, sort_keys=True) for name, value in facts.items()})
