"""The frozen probe: what 16 examples of each label are worth, without fine-tuning, over ten draws that every column shares.

The network is only read: logistic regression learns from the means of its embeddings and of its last layer. The linear columns learn
from the same draws.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.preprocessing import StandardScaler

from judging.hyper import hyper
from judging.linear import best, logistic, predict_labels
from judging.scores import Scores, label_scores
from judging.sets import Row, Task

if TYPE_CHECKING:
    from nlphub.module import Module


def draw(rows: Sequence[Row], shots: int, *, seed: int) -> list[int]:
    """Numbers, ascending, of ``shots`` rows of each label drawn by ``seed``; of all its rows where a label has fewer."""
    of_label: dict[str, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        of_label[str(row.label)].append(number)
    generator = np.random.default_rng(seed)
    return sorted(number for name in sorted(of_label) for number in generator.permutation(of_label[name])[:shots].tolist())


def judge_frozen(task: Task, module: "Module") -> list[Scores]:
    """Scores of logistic regression on the module's mean-pooled first and last layers, for each draw."""
    settings = hyper("pretrained", task.of)
    train, judged = (module.encode([row.text for row in rows], pooling=settings["pooling"]) for rows in (task.train, task.judged))
    return [_score(task, _from_vectors(train[numbers], judged, _labels(task, numbers), settings)) for numbers in _draws(task, settings)]


def judge_linear(column: str, task: Task, *, seed: int) -> list[Scores]:
    """Scores of a linear column, for each draw."""
    settings = hyper(column, task.of)
    drawn = ([task.train[number] for number in numbers] for numbers in _draws(task, settings))
    return [_score(task, predict_labels(column, rows, task.judged, settings, seed=seed)) for rows in drawn]


def _draws(task: Task, settings: dict[str, Any]) -> list[list[int]]:
    return [draw(task.train, settings["shots"], seed=seed) for seed in range(settings["draws"])]


def _labels(task: Task, numbers: Sequence[int]) -> list[str]:
    return [str(task.train[number].label) for number in numbers]


def _score(task: Task, predicted: Sequence[str]) -> Scores:
    return label_scores([str(row.label) for row in task.judged], predicted, task.labels)


def _from_vectors(train: Any, judged: Any, targets: Sequence[str], settings: dict[str, Any]) -> list[str]:
    scaler = StandardScaler().fit(train)
    return best(*logistic(scaler.transform(train), targets, settings)(scaler.transform(judged)))
