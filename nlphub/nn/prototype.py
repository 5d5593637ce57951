"""The head for a few examples: a vector for each label, compared with what a text says and with what the encoder makes of it.

A text has two sides, and each is a direction of length 1: its n-grams of one to three tokens, weighted by how rare they are among the
examples (TF-IDF), and the mean of its tokens' hidden rows less the examples' mean. The logits are linear in both. Where the encoder knows
little the n-grams carry the answer; where words differ the encoder does. :mod:`nlphub.nn.prototypes` finds the vectors in closed form.

Notation: ``t`` packed tokens, ``b`` sequences, ``s`` the longest of them, ``d`` width, ``m`` known n-grams, ``n`` examples.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nlphub.data.batching import Packed
from nlphub.errors import InputError, brief
from nlphub.kernels import Noise
from nlphub.labels import PROTOTYPE_EXAMPLES
from nlphub.nn.encoder import Encoder
from nlphub.nn.heads import Head
from nlphub.nn.ngrams import LARGEST_ID, dense_grams, find, keys_of, packed_grams

KIND, VERSION = "prototype", 2
MOST_GRAMS, MOST_EXAMPLES = 1 << 16, PROTOTYPE_EXAMPLES
_MOST_TOKENS = MOST_EXAMPLES << 13
_TINY = 1e-6


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of the tensors of a head.

    Attributes:
        grams: m.
        examples: n.
        tokens: of all examples together, with [CLS] and [SEP].
    """

    grams: int = 1
    examples: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Balance:
    """What is not solved for but chosen.

    Attributes:
        share: of the n-grams in the similarity of two texts, 0 to 1; the encoder has the rest.
        ridge: what is added to every text's similarity to itself: the larger, the closer the vectors are to the means of their labels.
        scale: of the logits.
    """

    share: float
    ridge: float
    scale: float


class PrototypeHead(Head):
    """One label for a text, from vectors of the labels.

    It holds its examples, as token ids: a label more (:meth:`nlphub.Module.add_label`) is then one more solution of the same equations. An
    exported graph does not hold them.

    Args:
        width: d.
        labels: number of logits.
        dropout: unused: nothing here is learnt by steps.
        sizes: of its tensors.
        balance: with which it was made; ``None`` before.
        learnt: whether the encoder has learnt the examples (method ``contrastive``): they say nothing of a balance then, nor of what unseen
            texts get, and a label more is made with the same balance.
    """

    task = "seq-cls"
    rows = "all"
    per_text = True
    by_steps = False

    grams: Tensor  # (m, 3) the ids of the n-grams as in ngrams.keys_of, ascending by key. Whole numbers below 2 ** 24: exact as float32
    rarity: Tensor  # (m,) inverse document frequencies
    gram_vectors: Tensor  # (m, labels)
    center: Tensor  # (d,)
    vectors: Tensor  # (d, labels)
    bias: Tensor  # (labels,)
    example_ids: Tensor  # (tokens,)
    example_lengths: Tensor  # (n,)
    example_labels: Tensor  # (n,) numbers of labels

    def __init__(
        self, width: int, labels: int, *, dropout: float = 0.0, sizes: Sizes = Sizes(), balance: Balance | None = None, learnt: bool = False
    ) -> None:
        super().__init__(width, labels, dropout=dropout)
        self.sizes, self.balance, self.learnt = sizes, balance, learnt
        shapes: dict[str, tuple[int, ...]] = {
            "grams": (sizes.grams, 3),
            "rarity": (sizes.grams,),
            "gram_vectors": (sizes.grams, labels),
            "center": (width,),
            "vectors": (width, labels),
            "bias": (labels,),
            "example_ids": (sizes.tokens,),
            "example_lengths": (sizes.examples,),
            "example_labels": (sizes.examples,),
        }
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))

    @property
    def form(self) -> dict[str, Any]:
        """As it stands in config.json; :func:`prototype_head` builds a head of the same form from it."""
        made = {"balance": asdict(self.balance) if self.balance else None, "learnt": self.learnt}
        return {"kind": KIND, "version": VERSION, **asdict(self.sizes), **made}

    def attach(self, encoder: Encoder) -> None:
        """Check that the ids of the vocabulary fit into n-grams."""
        if encoder.config.vocab > LARGEST_ID:
            raise InputError(f"prototypes take vocabularies of at most {LARGEST_ID:,} entries, and this one has {encoder.config.vocab:,}")

    def forward(self, hidden: Tensor, packed: Packed[Tensor] | None = None, *, noise: Noise | None = None) -> Tensor:
        """``(b, labels)`` logits of all hidden rows ``(t, d)`` of a packed batch; there is no dropout."""
        if packed is None:
            raise TypeError("prototypes need the packed batch too: head(hidden, packed)")
        weighed, squares = self._weigh(packed_grams(packed))
        # Doubles here and in `dense`: hundreds of equal n-grams, added one after another, all round to the same side.
        said = (_sums(weighed.double(), packed) / _sums(squares.double(), packed).sqrt().clamp(min=_TINY)).to(hidden.dtype)
        means, seen = content_means(hidden, packed)
        return said + self._meant(means, seen) + self.bias

    def dense(self, hidden: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """``(b, labels)`` logits of padded hidden rows ``(b, s, d)``."""
        weighed, squares = self._weigh(dense_grams(input_ids, attention_mask))
        said = (weighed.double().sum(1) / squares.double().sum(1).sqrt().clamp(min=_TINY)).to(hidden.dtype)
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)[None, :]
        content = ((positions >= 1) & (positions < attention_mask.sum(1, keepdim=True) - 1)).to(hidden.dtype)
        seen = content.sum(1)[:, None]
        means = (hidden * content[..., None]).sum(1) / seen.clamp(min=1)
        return said + self._meant(means, seen) + self.bias

    def _weigh(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Sums over the n-grams that begin at each token: of vectors ``(..., labels)``, and of squared rarities ``(..., 1)``."""
        places = find(keys_of(self.grams), keys)
        vectors, squares = F.pad(self.gram_vectors, (0, 0, 0, 1)), F.pad(self.rarity.square(), (0, 1))  # what is not known is nothing
        return vectors[places].sum(-2), squares[places].sum(-1, keepdim=True)

    def _meant(self, means: Tensor, seen: Tensor) -> Tensor:
        """The encoder's side of the logits; nothing for texts without a token."""
        moved = means.to(self.center.dtype) - self.center
        direction = moved / moved.square().sum(1, keepdim=True).sqrt().clamp(min=_TINY)
        return torch.where(seen > 0, direction, 0.0) @ self.vectors


def content_means(hidden: Tensor, packed: Packed[Tensor]) -> tuple[Tensor, Tensor]:
    """``(b, d)`` means of the hidden rows ``(t, d)`` without [CLS] and the last [SEP], and ``(b, 1)`` how many rows that are.

    A text without any has the mean 0.
    """
    lengths = packed.lengths.to(hidden.device)
    left = torch.repeat_interleave(lengths, lengths) - 1 - packed.positions
    content = ((packed.positions >= 1) & (left >= 1)).to(hidden.dtype)[:, None]
    seen = _sums(content, packed)
    return _sums(hidden * content, packed) / seen.clamp(min=1), seen


def prototype_head(form: Mapping[str, Any], *, width: int, labels: int) -> PrototypeHead:
    """A head without values, of the form that config.json names.

    Raises:
        InputError: it is no form that this version knows.
    """
    if problems := [*form_problems(form)]:
        raise InputError("This head cannot be made:", problems)
    balance = Balance(**form["balance"]) if form["balance"] else None
    sizes = Sizes(form["grams"], form["examples"], form["tokens"])
    return PrototypeHead(width, labels, sizes=sizes, balance=balance, learnt=form["learnt"])


def form_problems(form: Any) -> list[str]:
    """What is wrong with a head's form in a config.json."""
    most = {"grams": MOST_GRAMS, "examples": MOST_EXAMPLES, "tokens": _MOST_TOKENS}
    if not isinstance(form, Mapping) or form.get("kind") != KIND:
        return [f"head: expected the kind {KIND!r}, found {brief(form)}"]
    if form.get("version") != VERSION:
        return [f"head: its version is {brief(form.get('version'))} and this nlphub reads {VERSION}; it was written by another nlphub"]
    if form.keys() != {"kind", "version", "balance", "learnt", *most}:
        return [f"head: expected kind, version, balance, learnt, {', '.join(most)}, found {brief(sorted(map(str, form)))}"]
    sizes = [name for name, largest in most.items() if type(form[name]) is not int or not (name == "grams") <= form[name] <= largest]
    problems = [f"head.{name}: expected a whole number up to {most[name]:,}, found {brief(form[name])}" for name in sizes]
    if type(form["learnt"]) is not bool:
        problems.append(f"head.learnt: expected true or false, found {brief(form['learnt'])}")
    if form["balance"] is not None and not _is_balance(form["balance"]):
        problems.append(f"head.balance: expected share from 0 to 1, ridge and scale above 0, found {brief(form['balance'])}")
    return problems


def _is_balance(found: Any) -> bool:
    if not isinstance(found, Mapping) or found.keys() != {"share", "ridge", "scale"}:
        return False
    if not all(type(value) in (int, float) and 0 <= value < 1e9 for value in found.values()):
        return False
    return bool(found["share"] <= 1 and found["ridge"] > 0 and found["scale"] > 0)


def _sums(rows: Tensor, packed: Packed[Tensor]) -> Tensor:
    """``(b, ...)`` sums of the rows ``(t, ...)`` of each sequence."""
    return torch.segment_reduce(rows, "sum", lengths=packed.lengths.to(rows.device))
