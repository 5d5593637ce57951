"""Task layers: hidden rows in, logits and losses out. A head knows no text and no label names.

Notation: ``b`` sequences, ``r`` rows that a task asks about, ``d`` width.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nlphub import kernels
from nlphub.data.batching import Packed
from nlphub.kernels import ACTIVATIONS, Draws, Dropout, Noise, Site
from nlphub.nn.config import EncoderConfig
from nlphub.nn.encoder import Encoder, Rows
from nlphub.nn.losses import cross_entropy


class Head(nn.Module):
    """Base of all heads.

    Args:
        width: d of the encoder.
        labels: number of logits.
        dropout: probability before the last layer, in training.
    """

    task: ClassVar[str]
    rows: ClassVar[Rows]
    answers_words: ClassVar[bool] = False  # whether its labels are the entries of the vocabulary
    per_text: ClassVar[bool] = False  # whether it sees all rows and gives one row of logits for each text
    apart: ClassVar[bool] = False  # whether it reads the texts of a pair each by itself (nlphub.data.apart)
    by_steps: ClassVar[bool] = True  # whether it is learnt by steps of an optimizer
    outputs: ClassVar[tuple[str, ...]] = ("logits",)  # what the outputs of its graph are called, in the order of parts()

    def __init__(self, width: int, labels: int, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.width, self.labels, self.probability = width, labels, dropout

    @property
    def form(self) -> dict[str, Any]:
        """What config.json has to say of a head that its task, width and labels do not make; nothing for the usual ones."""
        return {}

    @property
    def decoding(self) -> dict[str, Any]:
        """What the task has to know of the head besides its logits, as plain values: an artefact holds them too."""
        return {}

    @classmethod
    def build(cls, width: int, outputs: Sequence[str], *, dropout: float) -> Self:
        """A head without trained values for the outputs that its task names."""
        return cls(width, len(outputs), dropout=dropout)

    @classmethod
    def fitting(cls, config: EncoderConfig, outputs: Sequence[str], *, dropout: float) -> Self:
        """The same for an encoder of these numbers."""
        return cls.build(config.width, outputs, dropout=dropout)

    def set_dropout(self, probability: float) -> None:
        """Change the dropout, which acts in training only."""
        self.probability = probability

    def attach(self, encoder: Encoder) -> None:
        """Called once when the head meets its encoder, for heads that share weights with it."""

    def arrange(self, packed: Packed[np.ndarray[Any, Any]]) -> Packed[np.ndarray[Any, Any]]:
        """A packed batch of examples as encoder and head see it."""
        return packed

    def dense(self, hidden: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Logits of padded hidden rows ``(b, s, d)``, or ``(b, d)`` of the first tokens; ids and mask are those of ``nn.dense``.

        Of a head with several :attr:`outputs` one tensor for each of them.
        """
        logits: Tensor = self(hidden)
        return logits

    def parts(self, logits: Tensor, packed: Packed[Tensor]) -> tuple[Tensor, ...]:
        """Logits of :meth:`forward` as its :attr:`outputs`, one after another."""
        return (logits,)

    def forward(self, hidden: Tensor, packed: Packed[Tensor] | None = None, *, noise: Noise | None = None) -> Tensor:
        """Logits of hidden rows.

        Args:
            hidden: ``(b, d)`` or ``(t, d)``, as :attr:`rows` asks of the encoder.
            packed: the batch; needed with ``noise``, since dropout masks follow the examples.
            noise: of a training step.
        """
        raise NotImplementedError

    def prepare(self, targets: Any, *, trained: bool) -> None:
        """Called before a training, for heads that begin at the mean of their targets, or scale them.

        Args:
            targets: of all training examples, as arrays.
            trained: whether the head was trained before, so that what it gives has a meaning already.
        """

    def loss(self, logits: Tensor, targets: Any, *, packed: Packed[Tensor] | None = None, **options: Any) -> Tensor:
        """What a training makes small: one value for each row, float32, 0 for rows without a target. Here it is cross-entropy.

        Args:
            logits: what :meth:`forward` gave.
            targets: the task's (:meth:`nlphub.tasks.base.Trainable.targets`) of this batch, as tensors.
            packed: the batch, for losses over whole texts.
            options: those of the training that are on; here ``class_weights`` and ``label_smoothing`` of
                :func:`~nlphub.nn.losses.cross_entropy`.

        Raises:
            TypeError: an option that this loss does not have.
        """
        return cross_entropy(logits, targets, **options)


class SequenceHead(Head):
    """One label for a text or a pair: tanh pooler and classifier on [CLS], as BERT's and ERNIE's (Devlin et al., 2019)."""

    task = "seq-cls"
    rows = "cls"

    def __init__(self, width: int, labels: int, *, dropout: float = 0.1) -> None:
        super().__init__(width, labels, dropout=dropout)
        self.pool = nn.Linear(width, width)
        self.classifier = nn.Linear(width, labels)

    def forward(self, hidden: Tensor, packed: Packed[Tensor] | None = None, *, noise: Noise | None = None) -> Tensor:
        """``(b, labels)`` logits of the [CLS] rows ``(b, d)``."""
        pooled = self.squash(self.pool(hidden))
        if noise is not None:
            pooled = kernels.dropout(pooled, self._dropped(noise, packed))
        logits: Tensor = self.classifier(pooled)
        return logits

    def squash(self, pooled: Tensor) -> Tensor:
        """What follows the pooler's matrix."""
        return pooled.tanh()

    def _dropped(self, noise: Noise, packed: Packed[Tensor] | None) -> Dropout | None:
        batch = _required(packed)
        draws = Draws(noise.seed, batch.examples, batch.positions[batch.cls_rows])
        return draws.dropout(self.probability, layer=0, site=Site.HEAD)


class TokenHead(Head):
    """One label for each token: a classifier on every row, as BERT's for named entities (Devlin et al., 2019)."""

    task = "token-cls"
    rows = "all"

    def __init__(self, width: int, labels: int, *, dropout: float = 0.1) -> None:
        super().__init__(width, labels, dropout=dropout)
        self.classifier = nn.Linear(width, labels)

    def forward(self, hidden: Tensor, packed: Packed[Tensor] | None = None, *, noise: Noise | None = None) -> Tensor:
        """``(t, labels)`` logits of all rows ``(t, d)``."""
        if noise is not None:
            draws = Draws.of(noise, _required(packed))
            hidden = kernels.dropout(hidden, draws.dropout(self.probability, layer=0, site=Site.HEAD) if draws else None)
        logits: Tensor = self.classifier(hidden)
        return logits


class MaskedLMHead(Head):
    """The words of masked tokens. The decoder is the encoder's word embedding (Press and Wolf, 2017); ``labels`` is its vocabulary.

    Pass it only the rows of masked tokens: 15 % of the rows make 15 % of the work.

    Args:
        width: d of the encoder.
        labels: entries of its vocabulary.
        embedding: width of its word embedding; 0 = ``width``.
    """

    task = "mlm"
    rows = "all"
    answers_words = True

    def __init__(self, width: int, labels: int, *, dropout: float = 0.0, embedding: int = 0) -> None:
        super().__init__(width, labels, dropout=dropout)
        self.transform = nn.Linear(width, embedding or width)
        self.norm = nn.LayerNorm(embedding or width)
        self.bias = nn.Parameter(torch.zeros(labels))
        self._words: tuple[nn.Embedding, ...] = ()  # in a tuple: a module attribute would save and count the embedding twice
        self._activation = ""

    @classmethod
    def fitting(cls, config: EncoderConfig, outputs: Sequence[str], *, dropout: float) -> Self:
        """A head that gives rows as wide as the embeddings with which they are compared."""
        return cls(config.width, len(outputs), dropout=dropout, embedding=config.embedding)

    def attach(self, encoder: Encoder) -> None:
        """Tie the decoder to the encoder's word embedding, and take its activation and the eps of its norms."""
        self._words, self._activation, self.norm.eps = (encoder.embeddings.word,), encoder.config.activation, encoder.config.eps

    def forward(self, hidden: Tensor, packed: Packed[Tensor] | None = None, *, noise: Noise | None = None) -> Tensor:
        """``(r, vocab)`` logits of hidden rows ``(r, d)``. There is no dropout here, as in BERT and ERNIE."""
        if not self._words:
            raise RuntimeError("a masked-LM head shares the word embedding of an encoder: call head.attach(encoder) first")
        transformed = self.norm(ACTIVATIONS[self._activation](self.transform(hidden)))
        return F.linear(transformed, self._words[0].weight, self.bias)


def _required(packed: Packed[Tensor] | None) -> Packed[Tensor]:
    if packed is None:
        raise TypeError("a head with noise needs the packed batch too: head(hidden, packed, noise=noise)")
    return packed
