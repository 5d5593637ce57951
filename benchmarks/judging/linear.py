"""The models without pretraining: TF-IDF (or hashed n-grams, for entities) + logistic regression, and a fastText-style n-gram model."""

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from judging.bags import Scorer, fit_bags
from judging.features import Bag, character_bags, pair_matrix, present, text_bags
from judging.hyper import hyper
from judging.scores import Scores, area, label_scores, span_scores
from judging.sets import Row, Task, tags_of
from nlphub.data.spans import Span, from_tags
from nlphub.tasks.tokens import TokenTask, best_tags

_NEVER = -1e3  # log-probability of a tag that training never showed, and the least of all others


def judge(column: str, task: Task, *, seed: int) -> Scores:
    """Train a linear column on a task's rows and judge it.

    Args:
        seed: of the n-gram model; logistic regression draws nothing.
    """
    settings = hyper(column, task.of)
    if task.of.kind == "spans":
        found = predict_spans(column, task, settings, seed=seed)
        return span_scores([row.spans for row in task.judged], found, task.labels)
    names, scores = label_logits(column, task.train, task.judged, settings, seed=seed)
    truth = [str(row.label) for row in task.judged]
    ranked = area(truth, scores[:, [names.index(label) for label in task.labels]], task.labels) if "auc" in task.of.metrics else {}
    return label_scores(truth, best(names, scores), task.labels) | ranked


def predict_labels(column: str, train: Sequence[Row], judged: Sequence[Row], settings: dict[str, Any], *, seed: int) -> list[str]:
    """The labels that a linear column gives ``judged`` after learning from ``train``."""
    return best(*label_logits(column, train, judged, settings, seed=seed))


def label_logits(column: str, train: Sequence[Row], judged: Sequence[Row], settings: dict[str, Any], *, seed: int) -> tuple[list[str], Any]:
    """Names of the labels, and their log-probabilities ``(b, labels)`` for ``judged`` after learning from ``train``."""
    targets = [str(row.label) for row in train]
    if column == "ngrams":
        return fit_bags(text_bags(train, words()), targets, settings, seed=seed)(text_bags(judged, words()))
    matrix = tfidf(train)
    return logistic(matrix(train), targets, settings)(matrix(judged))


def predict_spans(column: str, task: Task, settings: dict[str, Any], *, seed: int) -> list[list[Span]]:
    """The spans that a classifier of single characters finds in the judged rows, decoded as the network's are: the best tags in order."""
    targets = [tag for row in task.train for tag in tags_of(row)]
    bags, asked = _characters(task.train), _characters(task.judged)
    if column == "ngrams":
        names, scores = fit_bags(bags, targets, settings, seed=seed)(asked)
    else:
        names, scores = logistic(present(bags), targets, settings)(present(asked))
    return decoded(names, scores, task.judged, task.labels)


def decoded(names: Sequence[str], scores: Any, rows: Sequence[Row], labels: Sequence[str]) -> list[list[Span]]:
    """Spans of the best tags that are in order.

    Args:
        scores: log-probabilities of the tags ``names``, one row for each character of ``rows``; tags never learnt have none.
    """
    outputs = TokenTask().outputs(labels)
    table = np.full((len(scores), len(outputs)), _NEVER)
    table[:, [outputs.index(name) for name in names]] = np.maximum(scores, _NEVER)
    lengths = np.array([len(row.text) for row in rows])
    tags = iter([outputs[number] for number in best_tags(table, lengths).tolist()])
    return [list(from_tags(list(row.text), [next(tags) for _ in row.text])[1]) for row in rows]


def best(names: Sequence[str], scores: Any) -> list[str]:
    """The class with the highest score, of every row."""
    return [names[number] for number in scores.argmax(1).tolist()]


def tfidf(train: Sequence[Row]) -> Callable[[Sequence[Row]], Any]:
    """Rows -> TF-IDF of characters' 1-3 grams with the vocabulary of ``train``; of pairs ``[u; v; |u-v|; u*v]``."""
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True)
    vectorizer.fit([text for row in train for text in (row.text, row.pair) if text is not None])

    def matrix(rows: Sequence[Row]) -> Any:
        first = vectorizer.transform([row.text for row in rows])
        if rows[0].pair is None:
            return first
        return pair_matrix(first, vectorizer.transform([row.pair or "" for row in rows]))

    return matrix


def logistic(matrix: Any, targets: Sequence[str], settings: dict[str, Any]) -> Scorer:
    """scikit-learn's logistic regression on those columns of ``matrix`` that are used."""
    used = np.flatnonzero(np.diff(matrix.tocsc().indptr)) if issparse(matrix) else np.arange(matrix.shape[1])
    model = LogisticRegression(C=settings["C"], max_iter=settings["max_iter"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # max_iter is one of the published numbers
        model.fit(matrix[:, used], list(targets))
    return lambda other: ([str(name) for name in model.classes_], model.predict_log_proba(other[:, used]))


@functools.cache
def words() -> Callable[[str], list[str]]:
    """jieba's words of a text."""
    from nlphub.text.words import jieba_segmenter  # its dictionary takes a second

    return jieba_segmenter()


def _characters(rows: Sequence[Row]) -> list[Bag]:
    return [bag for row in rows for bag in character_bags(row.text)]
