"""``joint``: a classifier of the [CLS] row and a tagger of all rows behind one pass of the encoder (Chen, Zhuo and Wang, 2019).

Notation: ``b`` sequences, ``t`` packed tokens, ``d`` width, ``i`` intents, ``n`` tags.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from nlphub.data.batching import Packed
from nlphub.kernels import Noise
from nlphub.labels import INTENT
from nlphub.nn.chain import ChainHead
from nlphub.nn.heads import Head, SequenceHead, TokenHead
from nlphub.runtime.artefact import OUTPUTS
from nlphub.tasks.base import IGNORED


class JointHead(Head):
    """Intents as :class:`~nlphub.nn.heads.SequenceHead` says them, tags as :class:`~nlphub.nn.heads.TokenHead` does.

    Args:
        labels: ``i + n``.
        intents: ``i``.
    """

    task = "joint"
    rows = "all"
    outputs = OUTPUTS["joint"]
    tagger: ClassVar[type[TokenHead]] = TokenHead

    def __init__(self, width: int, labels: int, *, intents: int, dropout: float = 0.1) -> None:
        super().__init__(width, labels, dropout=dropout)
        self.intents = intents
        self.intent = SequenceHead(width, intents, dropout=dropout)
        self.slots = self.tagger(width, labels - intents, dropout=dropout)

    @classmethod
    def build(cls, width: int, outputs: Sequence[str], *, dropout: float) -> Self:
        """The outputs of the task say which of them are intents."""
        return cls(width, len(outputs), intents=sum(name.startswith(INTENT) for name in outputs), dropout=dropout)

    @property
    def form(self) -> dict[str, Any]:
        """That of the tagger."""
        return self.slots.form

    @property
    def decoding(self) -> dict[str, Any]:
        """That of the tagger."""
        return self.slots.decoding

    def set_dropout(self, probability: float) -> None:
        """Of both parts."""
        self.probability = self.intent.probability = self.slots.probability = probability

    def forward(self, hidden: Tensor, packed: Packed[Tensor] | None = None, *, noise: Noise | None = None) -> Tensor:
        """``(t, i + n)`` logits of all rows ``(t, d)``: intents on the rows of [CLS] and 0 on others, then tags."""
        if packed is None:
            raise TypeError("intents are said by the rows of [CLS], which the packed batch names: head(hidden, packed)")
        rows = packed.cls_rows.to(hidden.device)
        said = self.intent(hidden[rows], packed, noise=noise)
        tags = self.slots(hidden, packed, noise=noise)
        return torch.cat([said.new_zeros(len(hidden), self.intents).index_copy(0, rows, said), tags], dim=1)

    def dense(self, hidden: Tensor, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        """``(b, i)`` intents and ``(b, s, n)`` tags of padded hidden rows ``(b, s, d)``."""
        return self.intent(hidden[:, 0]), self.slots(hidden)

    def parts(self, logits: Tensor, packed: Packed[Tensor]) -> tuple[Tensor, ...]:
        """``(b, i)`` intents and ``(t, n)`` tags, from logits of :meth:`forward`."""
        return logits[packed.cls_rows, : self.intents], logits[:, self.intents :]

    def loss(
        self, logits: Tensor, targets: Any, *, packed: Packed[Tensor] | None = None, slot_weight: float = 1.0, **options: Any
    ) -> Tensor:
        """``(b,)`` float32: the cross-entropy of the intent plus ``slot_weight`` times the mean of the tagger's losses over the tokens.

        Args:
            logits: ``(t, i + n)``.
            targets: ``(b,)`` int64 numbers of the intents and ``(t,)`` int64 numbers of the tags, -100 for tokens without one.
            packed: the batch.
            slot_weight: of the slots.
            options: none.

        Raises:
            TypeError: an option that this loss does not have.
        """
        if options or packed is None:
            raise TypeError(f"the loss of joint needs the packed batch and has no {', '.join(options) or 'further options'}")
        intents, tags = targets
        said, marked = self.parts(logits, packed)
        each = self.slots.loss(marked, tags, packed=packed)
        lengths = packed.lengths.to(each.device)
        owners = torch.repeat_interleave(torch.arange(len(lengths), device=each.device), lengths)
        total = each.new_zeros(len(lengths)).index_add(0, owners, each)
        count = each.new_zeros(len(lengths)).index_add(0, owners, (tags != IGNORED).to(each.dtype))
        return self.intent.loss(said, intents) + slot_weight * total / count.clamp(min=1)


class JointChainHead(JointHead):
    """The same with a linear-chain CRF for the tags (:class:`~nlphub.nn.chain.ChainHead`)."""

    tagger = ChainHead
