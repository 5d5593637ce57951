"""The models without pretraining for sets of labels and for numbers: TF-IDF with a logistic regression for each label, or with ridge."""

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

from judging.hyper import hyper
from judging.linear import tfidf
from judging.scores import Scores, as_scores
from judging.sets import Task
from nlphub.evaluation.labelsets import THRESHOLD, indicators, label_set_report
from nlphub.evaluation.values import value_report


def judge_answers(task: Task) -> Scores:
    """Train TF-IDF on a task's rows and judge it."""
    settings, matrix = hyper("tfidf", task.of), tfidf(task.train)
    train, asked = matrix(task.train), matrix(task.judged)
    if task.of.kind == "numbers":
        model = Ridge(alpha=settings["alpha"]).fit(train, [row.value for row in task.train])
        low, high = (bound(row.value or 0.0 for row in task.train) for bound in (min, max))
        found = np.clip(model.predict(asked), low, high).tolist()
        return as_scores(value_report([float(row.value or 0.0) for row in task.judged], found))
    true = indicators([row.labels or () for row in task.train], task.labels)
    columns = [_present(train, true[:, place], asked, settings) for place in range(len(task.labels))]
    given = [[task.labels[place] for place, column in enumerate(columns) if column[row]] for row in range(len(task.judged))]
    return as_scores(label_set_report([row.labels or () for row in task.judged], given, task.labels))


def _present(train: Any, true: Any, asked: Any, settings: dict[str, Any]) -> Any:
    """``(b,)`` bool: which asked rows get a label; a label that all training rows have, or none, is told as it was there."""
    if true.all() or not true.any():
        return np.full(asked.shape[0], true.all())
    model = LogisticRegression(C=settings["C"], max_iter=settings["max_iter"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # max_iter is one of the published numbers
        model.fit(train, true)
    return model.predict_proba(asked)[:, 1] >= THRESHOLD
