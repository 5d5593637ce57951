"""From logits to accepted answers: a temperature, a confidence, and what the confidence has to reach.

Every route that answers (``Module.predict``, ``Predictor``) goes through here, so that all accept and reject alike.
Notation: ``b`` texts, ``r`` references.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from nlphub.errors import InputError, brief
from nlphub.files import publish

Floats = NDArray[np.floating]

CONFIDENCES = ("probability", "energy", "neighbours")
ACCEPT_ALL = {"probability": 0.0, "energy": -1e9, "neighbours": -2.0}  # thresholds below every confidence
REFERENCES = "references.safetensors"  # the file beside the weights that holds Calibration.references

NEIGHBOUR = 5  # whose similarity counts
_MOST_REFERENCES = 4096
_COMPARED = 1024  # answers that are compared with the references together: 32 MiB
_LARGEST_FILE = 256 << 20  # bytes: 4,096 references of 30,000 labels


@dataclass(frozen=True, slots=True)
class Calibration:
    """How logits become answers; kept with a module and with its artefact, so that both answer alike.

    Attributes:
        temperature: logits are divided by it before they become probabilities (Guo et al., 2017).
        confidence: what an answer is accepted by: ``probability``: the calibrated one of the best label; ``energy``: the logarithm of the
            summed exponentials of the logits (Liu et al., 2020); ``neighbours``: cosine similarity to the fifth nearest training example,
            between centred logits (after Sun et al., 2022, who compare hidden rows).
        threshold: answers whose confidence is below it are rejected. 0 of ``probability`` accepts all.
        thresholds: label -> its own threshold, instead of the common one.
        references: ``(r, labels)`` float16, from :func:`references_of`; for ``neighbours`` only.
    """

    temperature: float = 1.0
    confidence: str = "probability"
    threshold: float = 0.0
    thresholds: Mapping[str, float] = field(default_factory=dict)
    references: Floats | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, facts: Mapping[str, Any] | None, folder: Path | None = None) -> "Calibration":
        """From what :meth:`as_dict` gave, or the neutral one; references come from ``folder``.

        Raises:
            InputError: it is something else, or the references are missing or damaged.
        """
        if facts is None:
            return cls()
        if wrong := list(problems(facts)):
            raise InputError(f"This is no calibration: {brief(facts)}", wrong)
        made = cls(**facts)
        if made.confidence != "neighbours":
            return made
        return cls(**facts, references=_read_references(folder))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; without the references, which :meth:`write` keeps."""
        return {
            "temperature": self.temperature,
            "confidence": self.confidence,
            "threshold": self.threshold,
            "thresholds": dict(sorted(self.thresholds.items())),
        }

    def write(self, folder: Path) -> None:
        """Write the references into an existing folder; nothing, if there are none."""
        if self.references is not None:
            with publish(folder / REFERENCES) as stream:
                stream.write(save({"references": np.ascontiguousarray(self.references, np.float16)}))

    def accepts(self, logits: Floats, labels: Sequence[str]) -> NDArray[np.bool_]:
        """``(b,)`` whether the answer to each row of logits ``(b, labels)`` is accepted."""
        needed = np.array([self.thresholds.get(label, self.threshold) for label in labels])
        accepted: NDArray[np.bool_] = confidences(logits, self) >= needed[logits.argmax(axis=-1)]
        return accepted


NEUTRAL = Calibration()  # temperature 1, and every answer is accepted


def problems(facts: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the plain values of a calibration; keys that are missing have their defaults."""
    if unknown := sorted(set(facts) - {"temperature", "confidence", "threshold", "thresholds"}):
        yield f"{', '.join(map(str, unknown))}: unknown"
    temperature, confidence = facts.get("temperature", 1.0), facts.get("confidence", "probability")
    if not _is_number(temperature) or temperature <= 0:
        yield f"temperature: expected a number above 0, found {brief(temperature)}"
    if confidence not in CONFIDENCES:
        yield f"confidence: expected {', '.join(CONFIDENCES)}, found {brief(confidence)}"
    named = facts.get("thresholds", {})
    if not isinstance(named, Mapping):
        yield f"thresholds: expected a number for each label, found {brief(named)}"
        named = {}
    limits = (0.0, 1.0, "a number from 0 to 1") if confidence == "probability" else (-math.inf, math.inf, "a finite number")
    for where, value in (
        ("threshold", facts.get("threshold", 0.0)),
        *((f"thresholds[{label!r}]", value) for label, value in named.items()),
    ):
        if not _is_number(value) or not limits[0] <= value <= limits[1]:
            yield f"{where}: expected {limits[2]}, found {brief(value)}"


def confidences(logits: Floats, calibration: Calibration) -> NDArray[np.float64]:
    """``(b,)`` float64: how sure the answers to logits ``(b, labels)`` are; comparable only within one kind of confidence."""
    exact = logits.astype(np.float64)
    if calibration.confidence == "probability":
        return np.asarray(softmax(exact, temperature=calibration.temperature).max(axis=-1))
    if calibration.confidence == "energy":
        best = exact.max(axis=-1)
        return np.asarray(best + np.log(np.exp(exact - best[:, None]).sum(axis=-1)))
    if calibration.references is None:
        raise InputError("confidence 'neighbours' needs references; make them with references_of(logits of the training examples)")
    if calibration.references.shape[1] != exact.shape[1]:
        raise InputError(f"the references of this calibration have {calibration.references.shape[1]} labels, the logits {exact.shape[1]}")
    directions, references = _directions(exact), calibration.references.T.astype(np.float64)
    place = references.shape[1] - min(NEIGHBOUR, references.shape[1])
    pieces = (directions[first : first + _COMPARED] for first in range(0, max(len(exact), 1), _COMPARED))
    return np.concatenate([np.partition(piece @ references, place, axis=1)[:, place].copy() for piece in pieces])


def references_of(logits: Floats) -> Floats:
    """``(r, labels)`` float16 directions of training examples' logits ``(n, labels)``; at most 4,096 rows, evenly spread over ``n``."""
    return _directions(logits[reference_rows(len(logits))].astype(np.float64)).astype(np.float16)


def reference_rows(count: int) -> NDArray[np.int64]:
    """Ascending numbers of the at most 4,096 of ``count`` training examples that :func:`references_of` keeps."""
    return np.unique(np.linspace(0, count - 1, min(count, _MOST_REFERENCES)).round().astype(np.int64))


def softmax(logits: Floats, *, temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities ``(b, labels)`` of logits ``(b, labels)``, in float64."""
    scaled = logits.astype(np.float64) / temperature
    exponents = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=-1, keepdims=True))


def _directions(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows with mean 0 (a constant added to all logits means nothing) and length 1."""
    centred = logits - logits.mean(axis=-1, keepdims=True)
    return np.asarray(centred / np.maximum(np.linalg.norm(centred, axis=-1, keepdims=True), 1e-12))


def _read_references(folder: Path | None) -> Floats:
    path = folder / REFERENCES if folder else None
    if path is None or not path.is_file():
        raise InputError(f"confidence 'neighbours' needs {REFERENCES}, and {folder or 'this place'} has none")
    if path.stat().st_size > _LARGEST_FILE:
        raise InputError(f"{path} is larger than {_LARGEST_FILE:,} bytes: nlphub never writes such a file")
    try:
        found = load(path.read_bytes()).get("references")
    except SafetensorError as broken:
        raise InputError(f"{path} is damaged: {broken}") from broken
    if found is None or found.ndim != 2 or not len(found) or found.dtype != np.float16 or not np.isfinite(found).all():
        raise InputError(f"{path} does not hold references: rows of finite float16 numbers")
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
