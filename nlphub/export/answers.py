"""Logits to answers inside a standard ONNX graph: what :mod:`nlphub.calibration` and ``classify`` do together, in float64 as they do.

Notation: ``b`` texts, ``n`` labels, ``k`` candidates of an answer, ``r`` references.
"""

from collections.abc import Sequence

import numpy as np

from nlphub.calibration import NEIGHBOUR, Calibration
from nlphub.errors import ExportError
from nlphub.export.nodes import Nodes
from nlphub.runtime.artefact import ANSWERS


def add_answers(nodes: Nodes, logits: str, wanted: str, *, labels: Sequence[str], calibration: Calibration, top_k: int) -> None:
    """Make ``label``, ``score``, ``accepted`` ``(b,)``, ``labels`` and ``scores`` ``(b, k)``.

    Args:
        logits: name of ``(rows, n)`` float32.
        wanted: name of ``(1,)`` int64: how many rows, from the first, are answers.
    """
    exact = nodes.cast(nodes.add("Slice", logits, [0], wanted, [0]), "double")
    scores = nodes.add("Softmax", nodes.add("Div", exact, np.float64(calibration.temperature)), axis=-1)
    values, ranks = nodes.add_all("TopK", scores, [min(top_k, len(labels))], outputs=["nlphub/values", "nlphub/ranks"], axis=-1)
    names = nodes.add("Gather", nodes.strings(labels), ranks, output=ANSWERS[3], axis=0)
    shown = nodes.cast(values, "float", output=ANSWERS[4])
    best = nodes.take(ranks, nodes.constant(0), axis=1)
    needed = np.array([calibration.thresholds.get(label, calibration.threshold) for label in labels], np.float64)
    sure = nodes.add("GreaterOrEqual", _confidence(nodes, exact, values, calibration), nodes.take(nodes.constant(needed), best))
    nodes.add("Identity", sure, output=ANSWERS[2])
    nodes.add("Gather", shown, np.array(0), output=ANSWERS[1], axis=1)
    nodes.add("Where", sure, nodes.take(names, nodes.constant(0), axis=1), nodes.strings([""]), output=ANSWERS[0])


def _confidence(nodes: Nodes, logits: str, scores: str, calibration: Calibration) -> str:
    """``(b,)`` double, as :func:`nlphub.calibration.confidences`."""
    if calibration.confidence == "probability":
        return nodes.take(scores, nodes.constant(0), axis=1)
    if calibration.confidence == "energy":
        best = nodes.add("ReduceMax", logits, [1], keepdims=1)
        exponents = nodes.add("Exp", nodes.add("Sub", logits, best))
        return nodes.add("Squeeze", nodes.add("Add", best, nodes.add("Log", nodes.add("ReduceSum", exponents, [1], keepdims=1))), [1])
    if calibration.confidence == "neighbours" and calibration.references is not None:
        return _neighbours(nodes, logits, calibration.references)
    raise ExportError(
        f"The confidence {calibration.confidence!r} of this module has no form as a graph; choose 'probability' or 'energy' "
        "with hub.calibrate, or run the artefact with hub.Predictor"
    )


def _neighbours(nodes: Nodes, logits: str, references: "np.ndarray[tuple[int, ...], np.dtype[np.floating]]") -> str:
    """Cosine similarity to the fifth nearest reference."""
    centred = nodes.add("Sub", logits, nodes.add("ReduceMean", logits, [1], keepdims=1))
    length = nodes.add("Sqrt", nodes.add("ReduceSum", nodes.add("Mul", centred, centred), [1], keepdims=1))
    directions = nodes.add("Div", centred, nodes.add("Max", length, np.float64(1e-12)))
    held = nodes.cast(nodes.constant(np.ascontiguousarray(references.T, np.float16)), "double")
    similar = nodes.add("MatMul", directions, held)
    place = min(NEIGHBOUR, len(references))
    nearest, _ = nodes.add_all("TopK", similar, [place], outputs=["nlphub/nearest", "nlphub/who"], axis=-1)
    return nodes.take(nearest, nodes.constant(place - 1), axis=1)
