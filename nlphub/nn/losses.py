"""Losses of each row, from logits and targets. Each says which options of :class:`nlphub.recipe.TrainSettings` it takes.

Notation: ``r`` rows, ``n`` outputs of a head.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

SHIFT = 0.05  # of the asymmetric loss: an absent label whose probability is below it has no loss


def cross_entropy(logits: Tensor, targets: Tensor, *, class_weights: Tensor | None = None, label_smoothing: float = 0.0) -> Tensor:
    """``(r,)`` float32, whatever the dtype of the logits ``(r, n)``.

    Args:
        targets: ``(r,)`` int64 numbers of the right outputs; rows with -100 have no loss.
        class_weights: ``(n,)`` factors of the losses.
        label_smoothing: share of the target that is spread over all outputs (Szegedy et al., 2016).
    """
    weights = None if class_weights is None else class_weights.to(logits.device, torch.float32)
    return F.cross_entropy(logits.float(), targets, weight=weights, label_smoothing=label_smoothing, reduction="none")


def binary_cross_entropy(logits: Tensor, targets: Tensor, *, asymmetric: float = 0.0) -> Tensor:
    """``(r,)`` float32: the sum over the outputs, each of which is there (1) or not (0) by itself.

    Args:
        targets: ``(r, n)`` float32.
        asymmetric: exponent by which the losses of absent labels shrink where they are improbable already, which keeps the many absent
            ones from drowning the few present ones: gamma- of the asymmetric loss (Ridnik et al., 2021, arXiv:2009.14119), with its
            gamma+ 0 and its shift :data:`SHIFT`; 0 = plain binary cross-entropy, without a shift.
    """
    logits = logits.float()
    if not asymmetric:
        return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(1)
    shifted = (torch.sigmoid(logits) - SHIFT).clamp(min=0)
    absent = -torch.log1p(-shifted) * shifted.pow(asymmetric)
    return torch.where(targets > 0.5, -F.logsigmoid(logits), absent).sum(1)


def squared_error(values: Tensor, targets: Tensor, *, scale: Tensor) -> Tensor:
    """``(r,)`` float32: the square of the distance between ``values`` and ``targets``, both ``(r,)``, counted in ``scale``."""
    return ((values.float() - targets) / scale).square()
