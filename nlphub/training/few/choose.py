"""``train.method: auto``: which way of learning suits these examples, found by cross-validation on them alone.

All methods are judged on the same folds, which follow the seed. Prototypes cost next to nothing; a method that learns by steps takes as
many of them in a fold as it will take in the end, and is dropped after the fold at which it is behind the best so far by more than the
standard error of the difference: what is dropped by mistake is hardly better.
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
_ORDER = ("prototype", "finetune", "contrastive")  # the cheapest first: it wins where scores are equal
_CLEARLY = 1.0  # standard errors of a difference ...
_LEAST = 10  # ... on no fewer examples than these

Train = Callable[[Module, TrainSettings, Examples], object]


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen, and why.

    Attributes:
        method: ``finetune``, ``prototype`` or ``contrastive``.
        reason: in words.
        metric: of ``scores``.
        scores: method -> score of its answers to examples that it had not seen; empty where there was nothing to choose.
        judged: method -> how many examples that were; fewer than the others' where a method was dropped.
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
    answers: dict[str, list[str]] = {}
    for method in _ORDER:
        answers[method] = []
        for fold in np.unique(folds).tolist():
            seen, asked = ([train[int(row)] for row in np.flatnonzero(where)] for where in (folds != fold, folds == fold))
            epochs = math.ceil(settings.epochs * len(train) / len(seen))  # the steps of the training that follows
            own = settings.model_copy(update={"method": method, "epochs": epochs})
            answers[method] += _answers(module, own, seen, asked, labels, fit)
            if _behind(answers, method, _truth(train, folds)):
                break
    return _told(_best(answers, _truth(train, folds), labels, metric))


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


def _behind(answers: Mapping[str, list[str]], method: str, truth: list[str]) -> bool:
    """Whether a method is so far behind another one, on what both were asked, that chance hardly explains it."""
    own = np.array([given == right for given, right in zip(answers[method], truth, strict=False)], float)
    for other in answers:
        theirs = np.array([given == right for given, right in zip(answers[other], truth, strict=False)], float)
        if other != method and len(theirs) >= len(own) >= _LEAST:
            gaps = theirs[: len(own)] - own
            if gaps.mean() > _CLEARLY * gaps.std() / math.sqrt(len(gaps)):
                return True
    return False


def _best(answers: Mapping[str, list[str]], truth: list[str], labels: tuple[str, ...], metric: str) -> Choice:
    scores = {}
    for method, given in answers.items():
        told = classification_report(truth[: len(given)], given, labels)
        scores[method] = float(told.score(metric))
    whole = [method for method in _ORDER if len(answers[method]) == len(truth)]
    method = max(whole, key=lambda name: scores[name])
    dropped = [name for name in _ORDER if name not in whole]
    reason = f"the best {metric} on examples that were left out, in {FOLDS} folds of {len(truth)} examples"
    if dropped:
        reason += f"; {' and '.join(dropped)} stopped early, clearly behind"
    return Choice(method, reason, metric, scores, {name: len(given) for name, given in answers.items()})


def _told(choice: Choice) -> Choice:
    log.info("train.method auto takes %s", choice.summary())
    return choice
