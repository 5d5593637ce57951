"""The exponential moving average of weights, of fine-tuning and of pretraining."""

import torch
from torch import Tensor


class Average:
    """Exponential moving average of weights (Polyak and Juditsky, 1992): what is evaluated and kept, while ``weights`` train on.

    Early on it follows faster, so that the random start is soon forgotten.

    Attributes:
        weights: the tensors of a network, by name.
        averaged: of the same names; what trains on while the averages are :attr:`shown`.
        shown: whether the network has the averages at the moment.
    """

    def __init__(self, weights: dict[str, Tensor], decay: float) -> None:
        self.weights, self.decay, self.shown = weights, decay, False
        self.averaged = {name: tensor.detach().clone() for name, tensor in weights.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step ``step``."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.averaged.values()), list(self.weights.values()), 1.0 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange weights and averages; call it again to go back."""
        self.shown = not self.shown
        for name, tensor in self.weights.items():
            kept = tensor.clone()
            tensor.copy_(self.averaged[name])
            self.averaged[name].copy_(kept)

    def show(self, wanted: bool) -> None:
        """Let the network have the averages, or what trains on."""
        if wanted != self.shown:
            self.swap()

    @torch.no_grad()
    def restart(self) -> None:
        """Begin anew from the weights as they are."""
        for name, tensor in self.weights.items():
            self.averaged[name].copy_(tensor)
