"""Learning a batch a second time where it is hardest: with word embeddings that were moved a little to raise its loss."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from nlphub.errors import InputError
from nlphub.recipe import TrainSettings

_STRIDE = 2.5  # steps of pgd are this many times epsilon / steps long, as in Madry et al.: any place inside can be reached

Backward = Callable[[Sequence[Tensor] | None], object]


class Adversary:
    """Moves the matrix of word embeddings along its own gradient, and puts it back bit by bit.

    One step of the length epsilon is ``fgm`` (Miyato et al., 2017, arXiv:1605.07725, which moves each text's embeddings; here, as is
    usual for pretrained encoders, the matrix is moved, so that it does not matter how a batch is cut). Several, kept within epsilon of
    where they began, are ``pgd`` (Madry et al., 2018, arXiv:1706.06083). Norms are Euclidean, over the whole matrix.

    Args:
        weight: ``(vocabulary, d)`` the word embeddings.
        epsilon: how far they are moved.
        steps: passes; the last one's gradients are learnt from, those before look for the place.

    Raises:
        InputError: the embeddings are frozen: they have no gradient to follow.
    """

    def __init__(self, weight: nn.Parameter, *, epsilon: float, steps: int = 1) -> None:
        if not weight.requires_grad:
            raise InputError("train.adversarial follows the gradient of the word embeddings, and those of this module are frozen")
        self.weight, self.epsilon, self.steps = weight, epsilon, steps
        self._stride = epsilon if steps == 1 else _STRIDE * epsilon / steps

    @classmethod
    def of(cls, settings: TrainSettings, weight: nn.Parameter) -> "Adversary | None":
        """The one that the settings ask for. Raises as the class."""
        if settings.adversarial == "none":
            return None
        return cls(weight, epsilon=settings.adversarial_epsilon, steps=settings.adversarial_steps if settings.adversarial == "pgd" else 1)

    def attack(self, backward: Backward) -> None:
        """Add the gradients of the moved batch to those of the batch, which are there already.

        Args:
            backward: accumulates the gradients of the whole batch: of the tensors it is given, or of all with ``None``. The losses have
                to be means over the batch.
        """
        clean, kept = self.weight.grad, self.weight.detach().clone()
        if clean is None or not self._move(clean, kept):
            return
        try:
            for _ in range(self.steps - 1):
                self.weight.grad = None
                backward((self.weight,))
                if self.weight.grad is None or not self._move(self.weight.grad, kept):
                    break
            self.weight.grad = clean
            backward(None)
        finally:
            with torch.no_grad():
                self.weight.copy_(kept)

    @torch.no_grad()
    def _move(self, gradient: Tensor, kept: Tensor) -> bool:
        """One step upwards, and back onto the ball around ``kept``; whether there was a way up."""
        gradient = gradient.coalesce() if gradient.is_sparse else gradient
        size = float(gradient.norm())
        if not (math.isfinite(size) and size > 0):
            return False
        self.weight.add_(gradient, alpha=self._stride / size)
        if self.steps > 1:
            moved = self.weight - kept
            if (distance := float(moved.norm())) > self.epsilon:
                self.weight.copy_(kept + moved * (self.epsilon / distance))
        return True
