"""A head that teaches the encoder which texts belong together, before prototypes are made of them. It has no weights and no answers.

Notation: ``b`` sequences, ``d`` width.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nlphub.data.batching import Packed
from nlphub.kernels import Noise
from nlphub.nn.heads import Head
from nlphub.nn.prototype import content_means

TEMPERATURE = 0.1  # of the similarities, as in Khosla et al.


class ContrastiveHead(Head):
    """Directions of texts, and the supervised contrastive loss between those of one batch (Khosla et al., 2020, arXiv:2004.11362)."""

    task = "seq-cls"
    rows = "all"
    per_text = True

    def forward(self, hidden: Tensor, packed: Packed[Tensor] | None = None, *, noise: Noise | None = None) -> Tensor:
        """``(b, d)`` directions of length 1, of hidden rows ``(t, d)``: these are no logits."""
        if packed is None:
            raise TypeError("this head needs the packed batch too: head(hidden, packed)")
        return F.normalize(content_means(hidden, packed)[0], dim=1, eps=1e-6)

    def loss(self, logits: Tensor, targets: Tensor, *, packed: Packed[Tensor] | None = None, **options: Any) -> Tensor:
        """``(b,)`` float32: minus the mean log-probability of the other texts of the same label among all other texts of the batch.

        Texts that are alone with their label have no loss. (The paper's L_out, where the mean stands outside of the logarithm.)

        Args:
            logits: ``(b, d)`` what :meth:`forward` gave.
            targets: ``(b,)`` numbers of the labels.
            packed: unused.
            options: none: neither class weights nor label smoothing.
        """
        if options:
            raise TypeError("the contrastive loss has neither class weights nor label smoothing")
        directions = logits.float()
        itself = torch.eye(len(targets), dtype=torch.bool, device=logits.device)
        similar = (directions @ directions.T / TEMPERATURE).masked_fill(itself, -torch.inf)
        same = (targets[:, None] == targets[None, :]) & ~itself
        told = (similar - similar.logsumexp(1, keepdim=True)).masked_fill(~same, 0.0).sum(1)
        return torch.where(same.any(1), -told / same.sum(1).clamp(min=1), 0.0)
