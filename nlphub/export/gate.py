"""What a smaller graph costs, measured on development data through the same Predictor that will serve it; and whether that is too much.

A graph passes if the task's score falls by no more than ``bound`` points (hundredths) from that of float32. The score is the accuracy of
tasks with one label for each text, else the task's own first score (:data:`nlphub.labels.SCORES`).
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlphub.data.examples import Examples
from nlphub.labels import ONE_LABEL, score_name
from nlphub.runtime.predictor import Predictor
from nlphub.tasks import trainable
from nlphub.tasks.base import Trainable
from nlphub.tasks.predictions import Prediction

_ROUNDS = 3  # of each graph, in turn, so that a busy moment does not meet one of them alone
_ALONE = 50  # texts of a round that are answered one by one
_TOGETHER = 1000  # and all at once
_RANKED_ON = 256  # texts


@dataclass(frozen=True, slots=True)
class Development:
    """Labelled examples as a gate uses them.

    Attributes:
        task: of the module.
        labels: of the module.
        examples: at least one.
        questions: the examples as ``predict`` takes them.
    """

    task: Trainable
    labels: Sequence[str]
    examples: Examples
    questions: list[Any]

    @classmethod
    def of(cls, task: str, variant: str | None, labels: Sequence[str], examples: Examples) -> "Development":
        """For a module.

        Raises:
            DataError: these examples cannot judge it.
        """
        asked = trainable(task, variant)
        asked.check_judged(examples, labels)
        return cls(asked, labels, examples, asked.questions(examples))

    @property
    def score(self) -> str:
        """The name of the score that decides."""
        return score_name("accuracy" if self.task.name in ONE_LABEL else None, self.task.name)


@dataclass(frozen=True, slots=True)
class Judged:
    """The answers of a graph to the questions, and their score, 0 to 1."""

    answers: list[Any]
    score: float


@dataclass(frozen=True, slots=True)
class Speed:
    """Measured on this machine with the Predictor's usual threads, from strings to answers; the best of some rounds.

    Attributes:
        latency_ms: median of one text alone.
        texts_per_second: of many at once.
    """

    latency_ms: float
    texts_per_second: float


@dataclass(frozen=True, slots=True)
class Precision:
    """What was measured of one graph.

    Attributes:
        file: path inside the artefact.
        bytes: of all that it needs: itself, and the file that holds its weights.
        score: 0 to 1, of the name that stands beside.
        agreement: share of answers that say the same as those of float32, whatever their probabilities; ``None`` for numbers.
        acceptance: share of answers that are accepted or rejected as those of float32; ``None`` for tasks without rejection.
        speed: ``None`` until it is measured.
        method: of int8: ``dynamic`` or ``static``.
        kept: layers that stay in float32, the most harmful first.
    """

    file: str
    bytes: int
    score: float
    agreement: float | None = None
    acceptance: float | None = None
    speed: Speed | None = None
    method: str | None = None
    kept: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values without what is not there."""
        there = {name: value for name, value in asdict(self).items() if value is not None and name != "kept"}
        return there | ({"kept": list(self.kept)} if self.method else {})


@dataclass(frozen=True, slots=True)
class Harm:
    """What one layer in int8, alone among others in float32, does.

    Attributes:
        layer: its name.
        error: root of the mean squared difference of the logits, in standard deviations of those of float32.
        flipped: answers of ``texts`` that differ from those of float32.
    """

    layer: str
    error: float
    flipped: int
    texts: int

    def __str__(self) -> str:
        return f"{self.layer}: logits off by {self.error:.3g} standard deviations, {self.flipped} of {self.texts} answers differ"


def judge(predictor: Predictor, dev: Development) -> Judged:
    """Ask all questions."""
    answers = predictor(dev.questions)
    return Judged(answers, dev.task.judge(dev.examples, answers, dev.labels).score(dev.score))


def agreement(plain: Sequence[Any], found: Sequence[Any]) -> float | None:
    """Share of answers that say the same; probabilities, and whether an answer is accepted, do not count. ``None`` for numbers."""
    said = [(_said(ours), _said(theirs)) for ours, theirs in zip(plain, found, strict=True)]
    return None if any(ours is None for ours, _ in said) else sum(ours == theirs for ours, theirs in said) / len(said)


def acceptance(plain: Sequence[Any], found: Sequence[Any]) -> float | None:
    """Share of answers that are accepted alike; ``None`` where none can be rejected."""
    if not all(hasattr(answer, "accepted") for answer in plain):
        return None
    alike = [bool(ours.accepted == theirs.accepted) for ours, theirs in zip(plain, found, strict=True)]
    return sum(alike) / len(alike)


def passes(plain: float, found: float, *, bound: float) -> bool:
    """Whether a score, 0 to 1, is at most ``bound`` points below another one."""
    return 100 * (plain - found) <= bound + 1e-9


def ranked(names: Sequence[str], only: Callable[[str], Predictor], plain: Predictor, dev: Development) -> list[Harm]:
    """How much each layer harms, the worst first; on at most 256 texts, evenly spread.

    Args:
        only: a Predictor of the graph in which this layer alone is int8.
    """
    rows = np.unique(np.linspace(0, len(dev.questions) - 1, min(_RANKED_ON, len(dev.questions))).round().astype(int)).tolist()
    asked = [dev.questions[row] for row in rows]
    expected, answers = plain.logits(asked).astype(np.float64), plain(asked)
    spread = float(expected.std()) or 1.0
    found = []
    for name in names:
        predictor = only(name)
        error = math.sqrt(float(np.mean((predictor.logits(asked) - expected) ** 2))) / spread
        flipped = sum(_said(ours) != _said(theirs) for ours, theirs in zip(answers, predictor(asked), strict=True))
        found.append(Harm(name, error if math.isfinite(error) else math.inf, flipped, len(asked)))
    return sorted(found, key=lambda harm: -harm.error)


def speeds(predictors: Sequence[Predictor], dev: Development) -> list[Speed]:
    """How fast each is, in turn; of the rounds the fastest one of each."""
    alone, together = dev.questions[:_ALONE], _repeated(dev.questions)[:_TOGETHER]
    for predictor in predictors:
        predictor(alone[:2])  # the first answers are slower
    rounds = [[_timed(predictor, alone, together) for predictor in predictors] for _ in range(_ROUNDS)]
    return [Speed(min(one.latency_ms for one in of), max(one.texts_per_second for one in of)) for of in zip(*rounds, strict=True)]


def _repeated(questions: list[Any]) -> list[Any]:
    """A few hundred at least, so that batches are full."""
    return questions * max(1, min(10, 300 // len(questions)))


def _timed(predictor: Predictor, alone: Sequence[Any], together: list[Any]) -> Speed:
    taken = []
    for question in alone:
        started = time.perf_counter()
        predictor([question])
        taken.append(time.perf_counter() - started)
    started = time.perf_counter()
    predictor(together)
    return Speed(1000 * float(np.median(taken)), len(together) / (time.perf_counter() - started))


def _said(answer: Any) -> NDArray[Any] | str | None:
    """What an answer says, without its probabilities."""
    if isinstance(answer, Prediction):
        return answer.top[0][0]
    return None if hasattr(answer, "value") else str(answer.cells()[0])
