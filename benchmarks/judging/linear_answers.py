"""The models without pretraining for sets of labels, for numbers and for frames: TF-IDF with a logistic regression for each label, with
ridge, or with one for the intent beside one of single characters for the slots."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

from judging.hyper import hyper
from judging.linear import predict_labels, predict_spans, tfidf
from judging.scores import Scores, as_scores
from judging.sets import Task
from nlphub.evaluation.joint import joint_report
from nlphub.evaluation.labelsets import THRESHOLD, indicators, label_set_report
from nlphub.evaluation.values import value_report
from nlphub.labels import joint_parts


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


def judge_frames(task: Task) -> Scores:
    """Train one model for the intents and one for the slots on a task's rows and judge both together."""
    settings, (intents, slots) = hyper("tfidf", task.of), joint_parts(task.labels)
    said = predict_labels("tfidf", task.train, task.judged, settings["intents"], seed=0)
    found = predict_spans("tfidf", replace(task, labels=slots), settings["slots"], seed=0)
    true = [(str(row.label), row.spans) for row in task.judged]
    return as_scores(joint_report(true, list(zip(said, found, strict=True)), intents=intents, slots=slots))


def _present(train: Any, true: Any, asked: Any, settings: dict[str, Any]) -> Any:
    """``(b,)`` bool: which asked rows get a label; a label that all training rows have, or none, is told as it was there."""
    if true.all() or not true.any():
        return np.full(asked.shape[0], true.all())
    model = LogisticRegression(C=settings["C"], max_iter=settings["max_iter"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # max_iter is one of the published numbers
        model.fit(train, true)
    return model.predict_proba(asked)[:, 1] >= THRESHOLD
