"""Heads over whole texts whose answers are no single class: sets of labels, and numbers. Notation: ``b`` sequences, ``d`` width."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from nlphub.data.batching import Packed
from nlphub.kernels import Noise
from nlphub.nn.heads import SequenceHead
from nlphub.nn.losses import binary_cross_entropy, squared_error

_LEAST_SHARE = 1e-3  # of texts that have a label, where an untrained head begins


class LabelSetHead(SequenceHead):
    """Any number of labels for a text or a pair: the pooler and classifier of :class:`SequenceHead`, a sigmoid for each output."""

    task = "multi-label"

    def prepare(self, targets: Any, *, trained: bool) -> None:
        """Let an untrained head begin at the share of the texts that have each label: the many absent ones need not be learnt first."""
        if trained:
            return
        shares = np.clip(targets.mean(axis=0, dtype=np.float64), _LEAST_SHARE, 1 - _LEAST_SHARE)
        with torch.no_grad():
            self.classifier.bias.copy_(torch.from_numpy(np.log(shares / (1 - shares)).astype(np.float32)))

    def loss(self, logits: Tensor, targets: Any, *, packed: Packed[Tensor] | None = None, **options: Any) -> Tensor:
        """``(b,)`` float32: binary cross-entropy, the sum over the labels, or the asymmetric loss.

        Args:
            logits: ``(b, labels)``.
            targets: ``(b, labels)`` float32 of 0 and 1.
            packed: unused.
            options: ``asymmetric`` of :func:`~nlphub.nn.losses.binary_cross_entropy`.
        """
        return binary_cross_entropy(logits, targets, **options)


class ValueHead(SequenceHead):
    """A number for a text or a pair: :class:`SequenceHead` with one output, in the unit of the training data.

    What the classifier gives is scaled by mean and deviation of the training data. Outside of training the result stays within their
    range.
    """

    task = "regression"

    scaling: Tensor  # (4,) mean, deviation, smallest and largest of the training data

    def __init__(self, width: int, labels: int = 1, *, dropout: float = 0.1) -> None:
        super().__init__(width, labels, dropout=dropout)
        self.register_buffer("scaling", torch.tensor([0.0, 1.0, -1e30, 1e30]))

    def prepare(self, targets: Any, *, trained: bool) -> None:
        """Take the scale of the training data; of a head that was trained before only the range grows."""
        low, high = float(targets.min()), float(targets.max())
        mean, deviation, lowest, highest = self.scaling.tolist()
        if trained:
            low, high = min(low, lowest), max(high, highest)
        else:
            mean, deviation = float(targets.mean(dtype=np.float64)), float(targets.std(dtype=np.float64))
        self.scaling.copy_(torch.tensor([mean, deviation, low, high]))

    def forward(self, hidden: Tensor, packed: Packed[Tensor] | None = None, *, noise: Noise | None = None) -> Tensor:
        """``(b, 1)`` numbers of the [CLS] rows ``(b, d)``, float32 in training."""
        mean, deviation, low, high = self.scaling.unbind()
        values: Tensor = super().forward(hidden, packed, noise=noise).to(deviation.dtype) * deviation + mean
        return values if self.training else values.clamp(low, high)

    def loss(self, logits: Tensor, targets: Any, *, packed: Packed[Tensor] | None = None, **options: Any) -> Tensor:
        """``(b,)`` float32: the squared error, counted in deviations of the training data.

        Args:
            logits: ``(b, 1)``.
            targets: ``(b,)`` float32.
            packed: unused.
            options: none.

        Raises:
            TypeError: this loss has no options.
        """
        return squared_error(logits[:, 0], targets, scale=self.scaling[1], **options)
