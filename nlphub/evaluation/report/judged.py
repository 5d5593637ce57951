"""``report/judged.jsonl``: what a classifier answered to each text that it was judged on. Notation: ``b`` texts, ``n`` labels."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlphub.calibration import Calibration, confidences, softmax
from nlphub.data.examples import Examples
from nlphub.errors import DataError
from nlphub.files import publish_text

_TOP = 5  # answers that are kept of each text
_DIGITS = 6  # of probabilities
_SAME = 1e-5  # by which probabilities may miss one because of that


@dataclass(frozen=True, slots=True)
class Judged:
    """One text, its true label and the answer to it.

    Attributes:
        text: as it was asked.
        label: the true one.
        top: up to five labels with their calibrated probabilities, 0 to 1, best first.
        truth: the calibrated probability of the true label.
        confidence: what the answer is accepted by (:func:`nlphub.calibration.confidences`).
        accepted: whether it is.
        pair: the second text, of pairs.
    """

    text: str
    label: str
    top: tuple[tuple[str, float], ...]
    truth: float
    confidence: float
    accepted: bool
    pair: str | None = None

    @property
    def answer(self) -> str:
        """The most probable label, also of a rejected answer."""
        return self.top[0][0]

    @property
    def probability(self) -> float:
        """Of the answer."""
        return self.top[0][1]

    @property
    def right(self) -> bool:
        """Whether the answer is the true label."""
        return self.answer == self.label


def judged_answers(examples: Examples, logits: NDArray[np.floating], labels: Sequence[str], calibration: Calibration) -> tuple[Judged, ...]:
    """The answers to labelled texts, from logits ``(b, n)`` in their order; equal probabilities keep the order of ``labels``."""
    probabilities = softmax(logits, temperature=calibration.temperature)
    ranks = np.argsort(-probabilities, axis=1, kind="stable")[:, :_TOP].tolist()
    sure, accepted = confidences(logits, calibration).tolist(), calibration.accepts(logits, labels).tolist()
    number = {label: index for index, label in enumerate(labels)}
    return tuple(
        Judged(
            text=example.text,
            label=label,
            top=tuple((labels[place], round(float(row[place]), _DIGITS)) for place in best),
            truth=round(float(row[number[label]]), _DIGITS),
            confidence=confidence,
            accepted=taken,
            pair=example.pair,
        )
        for example, label, row, best, confidence, taken in zip(
            examples, examples.labels, probabilities, ranks, sure, accepted, strict=True
        )
    )


def write_judged(path: Path, rows: Sequence[Judged]) -> None:
    """Publish one JSON object for each text; lone surrogates, which UTF-8 cannot hold, are escaped and so come back as they were."""
    publish_text(path, "".join(_line(row) + "\n" for row in rows))


def read_judged(path: Path) -> tuple[Judged, ...]:
    """What :func:`write_judged` wrote.

    Raises:
        DataError: some lines are something else; all are named.
    """
    rows, problems = [], []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1], start=1):
        try:
            found = json.loads(line)
        except ValueError as wrong:
            problems.append(f"line {number}: not JSON: {wrong}")
            continue
        if complaint := next(_complaints(found), None):
            problems.append(f"line {number}: {complaint}")
        else:
            rows.append(Judged(**{**found, "top": tuple((label, float(share)) for label, share in found["top"])}))
    if problems or not rows:
        raise DataError(f"{path} is not what a run wrote there; train again to have it anew.", problems or ["it is empty"])
    return tuple(rows)


def _line(row: Judged) -> str:
    fields: dict[str, Any] = {"text": row.text, "label": row.label, "top": row.top, "truth": row.truth}
    fields |= {"confidence": row.confidence, "accepted": row.accepted} | ({} if row.pair is None else {"pair": row.pair})
    line = json.dumps(fields, ensure_ascii=False, allow_nan=False)
    try:
        line.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(fields, allow_nan=False)
    return line


def _complaints(found: Any) -> Iterator[str]:
    wanted = {"text", "label", "top", "truth", "confidence", "accepted"}
    if not isinstance(found, dict) or not wanted <= set(found) <= wanted | {"pair"}:
        yield f"expected an object of {', '.join(sorted(wanted))} and perhaps pair"
        return
    if not all(isinstance(found[key], str) for key in ("text", "label")) or not isinstance(found.get("pair"), str | None):
        yield "text, label and pair are strings"
    if not isinstance(found["accepted"], bool) or not _is_number(found["confidence"]) or not _is_share(found["truth"]):
        yield "confidence is a number, truth a probability, accepted true or false"
    top = found["top"]
    if not isinstance(top, list) or not top or not all(isinstance(one, list) and len(one) == 2 for one in top):
        yield "top is a list of labels with probabilities"
    elif not all(isinstance(label, str) and _is_share(share) for label, share in top):
        yield "top holds something else than labels with probabilities"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def _is_share(value: Any) -> bool:
    return _is_number(value) and -_SAME <= value <= 1 + _SAME
