"""Prototypes of labels from a few examples, in closed form: regularised least squares on the labels, by the similarities of texts.

The similarity of two texts is a weighted mean of two cosines, of their n-grams and of their mean hidden rows
(:mod:`nlphub.nn.prototype`). With K of all pairs, Y the labels as 0 and 1, and their means m, the vectors of the labels are sums of
examples with the weights A = C (Y - m), C = (K + ridge I)^-1: kernel ridge regression, which is linear discriminant analysis with a
shrunken covariance up to scaling (Hastie, Tibshirani and Friedman, 2009, sections 4.3 and 5.8). A large ridge gives the means of the
labels, the prototypes of Snell et al. (2017, "Prototypical Networks"). The ridge and the share of the n-grams are those with the least
squared error on each example when it is left out, which needs no further solution: without example i the weights are
A_j - C_ji A_i / C_ii (Allen, 1974). The probabilities' scale is the one of the highest likelihood there. Nothing is drawn at random.

Notation: ``n`` examples, ``t`` tokens of all of them, ``m`` known n-grams, ``d`` width.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nlphub.calibration import softmax
from nlphub.data.batching import pack
from nlphub.errors import DataError, InputError
from nlphub.nn.encoder import Encoder, to_tensors
from nlphub.nn.heads import Head
from nlphub.nn.inference import sentence_vectors
from nlphub.nn.ngrams import grams_of, packed_grams
from nlphub.nn.prototype import MOST_EXAMPLES, MOST_GRAMS, Balance, PrototypeHead, Sizes
from nlphub.text.encoding import Encoded, Ints

Exact = NDArray[np.float64]

SHARES = (0.5, 0.25, 0.75)  # the first of equals is taken
RIDGES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
_SCALES: tuple[float, ...] = tuple(2.0 ** (step / 4) for step in range(25))  # 1 to 64
_CELLS = 1 << 23  # numbers of a block of n-gram features
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Labelled:
    """Examples as a head holds them.

    Attributes:
        encoded: n single texts.
        targets: ``(n,)`` int64 numbers of their labels.
    """

    encoded: Encoded
    targets: Ints


@dataclass(frozen=True, slots=True)
class Left:
    """What the examples say of a balance, each left out once.

    Attributes:
        error: mean squared error of the label vector.
        accuracy: share of examples that get their own label.
    """

    balance: Balance
    error: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Fitted:
    """A head, and how it was chosen."""

    head: PrototypeHead
    left: Left


@dataclass(frozen=True, slots=True)
class _Lexicon:
    """The n-grams of the examples: ascending ``keys`` ``(m,)``, how many examples have them, ``rarity`` ``(m,)``, and ``(row, place)`` of
    every occurrence."""

    keys: Ints
    owners: Ints
    rarity: Exact
    rows: Ints
    places: Ints
    count: int

    def unshared(self) -> Exact:
        """``(n,)`` how much larger an example's n-grams would be made if those that no other example has were unknown, as they would be
        were it left out; 0 for one that shares none."""
        squares = self.rarity[self.places] ** 2
        whole = np.bincount(self.rows, squares, minlength=self.count)
        known = np.bincount(self.rows, squares * (self.owners[self.places] > 1), minlength=self.count)
        return np.asarray(np.sqrt(np.divide(whole, known, out=np.zeros(self.count), where=known > 0)))

    def blocks(self) -> Iterator[tuple[slice, Exact]]:
        """The directions of the examples, ``(n, columns)`` float64, some columns at a time."""
        squares = np.bincount(self.rows, self.rarity[self.places] ** 2, minlength=self.count)
        values = self.rarity[self.places] / np.sqrt(np.maximum(squares, _TINY))[self.rows]
        width = max(1, _CELLS // max(1, self.count))
        for first in range(0, len(self.keys), width):
            last = min(first + width, len(self.keys))
            inside = (self.places >= first) & (self.places < last)
            cells = self.rows[inside] * (last - first) + self.places[inside] - first
            block = np.bincount(cells, values[inside], minlength=self.count * (last - first))
            yield slice(first, last), np.asarray(block, np.float64).reshape(self.count, -1)


def fit_prototypes(encoder: Encoder, examples: Labelled, labels: int, *, balance: Balance | None = None) -> Fitted:
    """A head for these examples, on the CPU; the encoder is left as it is. Equal examples in equal order give equal bits.

    Args:
        labels: how many there are; those without an example get no vector.
        balance: instead of the one that the examples choose, because the encoder has learnt them already.

    Raises:
        DataError: there is no example, or more than 4,096.
    """
    vectors = sentence_vectors(encoder, examples.encoded, pooling="content")
    return fit_vectors(vectors, examples, labels, balance=balance)


def fit_vectors(vectors: NDArray[np.float32], examples: Labelled, labels: int, *, balance: Balance | None = None) -> Fitted:
    """As :func:`fit_prototypes`, from the mean hidden rows ``(n, d)`` of the examples, which :func:`sentence_vectors` gives."""
    if not 1 <= len(examples.targets) <= MOST_EXAMPLES:
        raise DataError(
            f"prototypes take 1 to {MOST_EXAMPLES:,} examples, and these are {len(examples.targets):,}: use train.method=finetune"
        )
    lexicon, center = _lexicon(examples.encoded), vectors.astype(np.float64).mean(axis=0)
    directions = _directions(vectors - center, examples.encoded.lengths)
    pairs = _pairs(lexicon, directions, examples.targets, labels)
    left = pairs.judge(balance) if balance else pairs.choose()
    found = left.balance
    weights, prior = pairs.solve(found)
    of_grams = np.concatenate([block.T @ weights for _, block in lexicon.blocks()]) * lexicon.rarity[:, None]
    values = {
        "grams": grams_of(torch.from_numpy(lexicon.keys)),
        "rarity": lexicon.rarity,
        "gram_vectors": found.scale * found.share * of_grams,
        "center": center,
        "vectors": found.scale * (1 - found.share) * directions.T @ weights,
        "bias": found.scale * prior,
        "example_ids": examples.encoded.ids,
        "example_lengths": examples.encoded.lengths,
        "example_labels": examples.targets,
    }
    sizes = Sizes(grams=len(lexicon.keys), examples=len(examples.targets), tokens=len(examples.encoded.ids))
    head = PrototypeHead(vectors.shape[1], labels, sizes=sizes, balance=found, learnt=balance is not None)
    head.load_state_dict({name: torch.as_tensor(value).to(torch.float32) for name, value in values.items()})
    return Fitted(head, left)


def left_out(encoder: Encoder, head: Head | None) -> tuple[NDArray[np.float32], Ints] | None:
    """Logits ``(n, labels)`` that each example of a head would get had it been made, with the same balance, without that one; and the
    examples' targets ``(n,)``.

    They are what unseen texts get, but for the balance, three numbers that all examples chose together. ``None`` of other heads, and where
    the encoder has learnt the examples.
    """
    if not isinstance(head, PrototypeHead) or head.balance is None or head.learnt:
        return None
    examples = examples_of(head)
    vectors = sentence_vectors(encoder, examples.encoded, pooling="content")
    directions = _directions(vectors - vectors.astype(np.float64).mean(axis=0), examples.encoded.lengths)
    pairs = _pairs(_lexicon(examples.encoded), directions, examples.targets, head.labels)
    return pairs.logits(head.balance).astype(np.float32), examples.targets


def labelled(ids: list[Ints], targets: Any) -> Labelled:
    """Examples from the token ids of each, with [CLS] and [SEP]."""
    flat = np.concatenate(ids) if ids else np.zeros(0, np.int64)
    starts = np.concatenate([[0], np.cumsum([len(one) for one in ids])]).astype(np.int64)
    encoded = Encoded(flat, np.zeros_like(flat), np.zeros((len(flat), 2), np.int64), starts, np.zeros(len(ids), np.bool_))
    return Labelled(encoded, np.asarray(targets, np.int64))


def examples_of(head: PrototypeHead) -> Labelled:
    """The examples that a head was made of."""
    ids, lengths, targets = (
        tensor.cpu().numpy().astype(np.int64) for tensor in (head.example_ids, head.example_lengths, head.example_labels)
    )
    return labelled(np.split(ids, np.cumsum(lengths)[:-1]) if len(lengths) else [], targets)


def learn_label(
    encoder: Encoder,
    head: Head | None,
    labels: Sequence[str],
    label: str,
    texts: Sequence[str],
    *,
    tokenize: Callable[[Sequence[str]], Encoded],
) -> tuple[tuple[str, ...], PrototypeHead]:
    """The labels with one more, and a head of all examples: those of ``head`` and, after them, the ``texts`` of the new label.

    The label gets its place in the order of the labels, if they are sorted, and else the last one.

    Raises:
        InputError: this head cannot have it; all reasons at once.
        DataError: there are more than 4,096 examples then.
    """
    if not isinstance(head, PrototypeHead):
        raise InputError("Only a module with prototypes learns a label without training: fine-tune it with train.method=prototype first")
    if problems := [*_wrong_label(labels, label), *_wrong_texts(texts)]:
        raise InputError(f"The label {label!r} cannot be added:", problems)
    names = tuple(sorted([*labels, label])) if list(labels) == sorted(labels) else (*labels, label)
    held, added, place = examples_of(head), tokenize(texts), names.index(label)
    targets = np.concatenate([held.targets + (held.targets >= place), np.full(len(added), place)])
    ids = [one.ids[one.starts[row] : one.starts[row + 1]] for one in (held.encoded, added) for row in range(len(one))]
    kept = head.balance if head.learnt else None
    return names, fit_prototypes(encoder, labelled(ids, targets), len(names), balance=kept).head


def _wrong_label(labels: Sequence[str], label: str) -> Iterator[str]:
    if not isinstance(label, str) or not label.strip():
        yield "a label needs a name"
    elif label in labels:
        yield "there is a label of that name already; give its examples to a new training"


def _wrong_texts(texts: Sequence[str]) -> Iterator[str]:
    if isinstance(texts, str) or not texts:
        yield "texts must be a list of examples, e.g. ['怎么开发票', '发票抬头写错了']"
        return
    for number, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            yield f"texts[{number}] is {text!r}: it says nothing"


def _lexicon(encoded: Encoded) -> _Lexicon:
    """The n-grams of the examples, at most 65,536: of those the ones that most examples have."""
    rows = np.arange(len(encoded))
    found = packed_grams(to_tensors(pack(encoded, rows))).numpy().ravel()
    owners = np.repeat(np.repeat(rows, encoded.lengths), 3)[found >= 0]
    found = found[found >= 0]
    keys, places = np.unique(found, return_inverse=True)
    pairs = np.unique(places.astype(np.int64) * len(encoded) + owners)
    shared = np.bincount(pairs // len(encoded), minlength=len(keys))
    if len(keys) == 0:  # texts without a token: one n-gram that no text has
        return _Lexicon(np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros(1), owners, places.astype(np.int64), len(encoded))
    kept = np.sort(np.lexsort((keys, -shared))[:MOST_GRAMS])
    number = np.full(len(keys), -1)
    number[kept] = np.arange(len(kept))
    known = number[places] >= 0
    rarity = np.log((1 + len(encoded)) / (1 + shared[kept])) + 1  # smooth, as scikit-learn's
    return _Lexicon(
        keys[kept], shared[kept], rarity.astype(np.float32).astype(np.float64), owners[known], number[places[known]], len(encoded)
    )


def _similarities(lexicon: _Lexicon) -> Exact:
    total = np.zeros((lexicon.count, lexicon.count))
    for _, block in lexicon.blocks():
        total += block @ block.T
    return total


def _directions(moved: Exact, lengths: Ints) -> Exact:
    """Rows of length 1; nothing for texts without a token."""
    rows = moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-6)
    return np.asarray(np.where(lengths[:, None] > 2, rows, 0.0))


def _pairs(lexicon: _Lexicon, directions: Exact, targets: Ints, labels: int) -> "_Pairs":
    return _Pairs(_similarities(lexicon), directions @ directions.T, lexicon.unshared(), targets, labels)


@dataclass(frozen=True, slots=True)
class _Pairs:
    """All pairs of examples: how similar their n-grams and their means are, ``(n, n)`` each, and :meth:`_Lexicon.unshared`."""

    said: Exact
    meant: Exact
    unshared: Exact
    targets: Ints
    labels: int

    def choose(self) -> Left:
        """The best of all balances."""
        best: tuple[float, float, float, float, Exact] | None = None
        for share in SHARES:
            parts = self._parts(share)
            for ridge in RIDGES:
                out = self._left_out(parts, ridge)
                error, accuracy = self._error(out)
                if best is None or error < best[0]:
                    best = error, accuracy, share, ridge, out
        assert best is not None
        error, accuracy, share, ridge, out = best
        return Left(Balance(share, ridge, self._scale(out)), error, accuracy)

    def judge(self, balance: Balance) -> Left:
        """What is to be said of one balance."""
        return Left(balance, *self._error(self._left_out(self._parts(balance.share), balance.ridge)))

    def logits(self, balance: Balance) -> Exact:
        """``(n, labels)`` of left-out examples."""
        return balance.scale * self._left_out(self._parts(balance.share), balance.ridge)

    def solve(self, balance: Balance) -> tuple[Exact, Exact]:
        """The weights A ``(n, labels)``, and the means m of the labels."""
        values, vectors, _, _ = self._parts(balance.share)
        wanted = np.eye(self.labels)[self.targets]
        return vectors / (values + balance.ridge) @ (vectors.T @ (wanted - wanted.mean(axis=0))), wanted.mean(axis=0)

    def _parts(self, share: float) -> tuple[Exact, Exact, Exact, Exact]:
        """Eigenvalues and vectors of K, what left-out examples (rows) would find in the others, and that turned by the vectors."""
        values, vectors = np.linalg.eigh(share * self.said + (1 - share) * self.meant)
        asked = share * self.said * self.unshared[:, None] + (1 - share) * self.meant
        np.fill_diagonal(asked, 0.0)
        return np.maximum(values, 0.0), vectors, asked, asked @ vectors

    def _left_out(self, parts: tuple[Exact, Exact, Exact, Exact], ridge: float) -> Exact:
        """``(n, labels)`` what each example would get from the others."""
        values, vectors, asked, turned = parts
        wanted = np.eye(self.labels)[self.targets]
        prior = wanted.mean(axis=0)
        scaled = vectors / (values + ridge)
        weights = scaled @ (vectors.T @ (wanted - prior))
        excess = (turned * scaled).sum(axis=1) / (vectors * scaled).sum(axis=1)
        return np.asarray(prior + asked @ weights - excess[:, None] * weights)

    def _error(self, out: Exact) -> tuple[float, float]:
        """Mean squared error, and accuracy."""
        wanted = np.eye(self.labels)[self.targets]
        return float(((out - wanted) ** 2).sum(axis=1).mean()), float((out.argmax(axis=1) == self.targets).mean())

    def _scale(self, out: Exact) -> float:
        """Of the logits: the one under which the left-out examples are the most probable."""
        chosen = np.arange(len(self.targets)), self.targets

        def unlikely(scale: float) -> float:
            return -float(np.log(np.maximum(softmax(out, temperature=1 / scale)[chosen], _TINY)).mean())

        return min(_SCALES, key=unlikely)
