"""``train.method: auto``: which way of learning suits these examples, found by cross-validation on them alone.

A few examples cannot tell two points of difference from chance, so the three methods do not start as equals. ``contrastive`` stands: it
was the best, or 0.1 points behind, on every draw of every count in ``benchmarks/few_shot.py``. Another one takes its place only where it
gives more right answers than chance explains. All are asked the same folds, which follow the seed, and a method that learns by steps takes
as many of them in a fold as in the training that follows. A rival leaves as soon as it is not ahead any more, and with the last one the
race ends.
"""

import copy
import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nlphub.data.examples import Examples
from nlphub.data.folds import fold_numbers
from nlphub.evaluation.metrics import classification_report
from nlphub.labels import score_name
from nlphub.module import Module
from nlphub.nn.prototype import MOST_EXAMPLES
from nlphub.recipe import TrainSettings

log = logging.getLogger(__name__)

FOLDS = 4
MOST_EACH = 64  # examples of a label, on average, above which there is nothing to choose: they are not few
STANDING, RIVALS = "contrastive", ("prototype", "finetune")
_CLEARLY = 1.64  # standard errors by which a rival must be ahead: chance does that once in twenty times ...
_LEAST = 60  # ... and a rival stays in the race until it was asked so many, or all: a first fold of a few alone says nothing

Train = Callable[[Module, TrainSettings, Examples], object]


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen, and why.

    Attributes:
        method: ``finetune``, ``prototype`` or ``contrastive``.
        reason: in words.
        metric: of ``scores``.
        scores: method -> score of its answers to examples that it had not seen; empty where there was nothing to choose.
        judged: method -> how many examples that were; fewer than all where the race was decided earlier.
    """

    method: str
    reason: str
    metric: str
    scores: Mapping[str, float]
    judged: Mapping[str, int]

    def summary(self) -> str:
        """One line: the method, the scores of all, and why."""
        told = ", ".join(f"{name} {score:.3f}" for name, score in self.scores.items())
        return f"{self.method}{f' ({self.metric}: {told})' if told else ''}: {self.reason}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def choose(module: Module, settings: TrainSettings, train: Examples, *, labels: tuple[str, ...], fit: Train) -> Choice:
    """Choose a method for these examples. The module stays as it is.

    Args:
        settings: those of the training that follows, ``method`` aside.
        labels: of the module.
        fit: trains a module: what the Trainer does.
    """
    metric = score_name(settings.metric, "seq-cls")
    if reason := _plain(train, labels):
        return _told(Choice("finetune", reason, metric, {}, {}))
    folds = np.array(fold_numbers(train, folds=min(FOLDS, len(train)), seed=settings.seed))
    truth, racing = _truth(train, folds), list(RIVALS)
    answers: dict[str, list[str]] = {method: [] for method in (STANDING, *RIVALS)}
    for fold in np.unique(folds).tolist():
        seen, asked = ([train[int(row)] for row in np.flatnonzero(where)] for where in (folds != fold, folds == fold))
        epochs = math.ceil(settings.epochs * len(train) / len(seen))  # the steps of the training that follows
        for method in (STANDING, *racing):
            own = settings.model_copy(update={"method": method, "epochs": epochs})
            answers[method] += _answers(module, own, seen, asked, labels, fit)
        racing = [rival for rival in racing if _races(answers, rival, truth)]
        if not racing:
            break
    return _told(_decided(answers, truth, labels, metric))


def _plain(train: Examples, labels: tuple[str, ...]) -> str | None:
    """Why these examples are fine-tuned on without a choice."""
    if len(train) > min(MOST_EXAMPLES, MOST_EACH * len(labels)):
        return f"{len(train):,} examples of {len(labels)} labels are not few: at most {MOST_EACH} each, {MOST_EXAMPLES:,} together, are"
    if sum(count > 1 for count in Counter(train.labels).values()) < 2:
        return "fewer than two labels have two examples, so none can be left out"
    return None


def _answers(module: Module, settings: TrainSettings, seen: list[Any], asked: list[Any], labels: tuple[str, ...], fit: Train) -> list[str]:
    """What a copy of the module answers after learning from ``seen``."""
    pupil = copy.deepcopy(module)
    pupil.add_head("seq-cls", labels)
    fit(pupil, settings, Examples(seen))
    return [answer.top[0][0] for answer in pupil.predict([example.text for example in asked], top_k=1)]


def _truth(train: Examples, folds: Any) -> list[str]:
    """Labels in the order in which they are asked for."""
    return [str(train[int(row)].label) for fold in np.unique(folds) for row in np.flatnonzero(folds == fold)]


def _gaps(answers: Mapping[str, list[str]], rival: str, truth: list[str]) -> Any:
    """``(n,)`` in -1, 0, 1: where the rival is right and the standing method is not, and the other way round, on what both were asked."""
    right = [np.array([given == true for given, true in zip(answers[name], truth, strict=False)], float) for name in (rival, STANDING)]
    asked = min(map(len, right))
    return right[0][:asked] - right[1][:asked]


def _races(answers: Mapping[str, list[str]], rival: str, truth: list[str]) -> bool:
    gaps = _gaps(answers, rival, truth)
    return bool(len(gaps) < _LEAST or gaps.sum() > 0)


def _clearly_ahead(gaps: Any) -> bool:
    return bool(gaps.mean() > _CLEARLY * gaps.std() / math.sqrt(len(gaps)))


def _decided(answers: Mapping[str, list[str]], truth: list[str], labels: tuple[str, ...], metric: str) -> Choice:
    """The standing method, or the rival that was asked everything and is furthest ahead, clearly."""
    gaps = {rival: _gaps(answers, rival, truth) for rival in RIVALS}
    ahead = [rival for rival in RIVALS if len(gaps[rival]) == len(truth) and _clearly_ahead(gaps[rival])]
    method = max(ahead, key=lambda rival: gaps[rival].sum(), default=STANDING)
    judged = {name: len(given) for name, given in answers.items()}
    scores = {name: float(classification_report(truth[: judged[name]], given, labels).score(metric)) for name, given in answers.items()}
    asked = f"asked about {judged[STANDING]} of {len(truth)} examples, each left out of the training before"
    told = f"clearly more right answers than {STANDING}" if ahead else "no other method gives clearly more right answers"
    return Choice(method, f"{told}, {asked}", metric, scores, judged)


def _told(choice: Choice) -> Choice:
    log.info("train.method auto takes %s", choice.summary())
    return choice
