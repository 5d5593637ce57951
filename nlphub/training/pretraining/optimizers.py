"""The optimizers of pretraining, their schedule, and the moving average of the weights."""

from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import AdamW, Muon, Optimizer

from nlphub.nn.encoder import Encoder
from nlphub.nn.heads import Head
from nlphub.recipe.pretraining import PretrainSettings
from nlphub.training.optim import set_rates

_BETAS, _EPS = (0.9, 0.98), 1e-6  # of AdamW, as usual for masked language models (RoBERTa, ERNIE 3.0)


class Optimizers:
    """Muon for the matrices of the layers, AdamW for the rest; or AdamW alone.

    Muon (Jordan et al., 2024) orthogonalises the momentum of each matrix; its updates are scaled to the size of AdamW's (Liu et al.,
    2025, arXiv:2502.16982), so that one kind of learning rate fits both. The fused matrix of queries, keys and values is one matrix.
    """

    def __init__(self, encoder: Encoder, head: Head, settings: PretrainSettings) -> None:
        matrices = [parameter for parameter in encoder.blocks.parameters() if parameter.ndim == 2]
        chosen = {id(parameter) for parameter in matrices}
        rest = [parameter for part in (encoder, head) for parameter in part.parameters() if id(parameter) not in chosen]
        decay = settings.weight_decay
        adam = [
            {"params": [parameter for parameter in rest if parameter.ndim == 2], "lr": settings.embedding_rate, "weight_decay": decay},
            {"params": [parameter for parameter in rest if parameter.ndim < 2], "lr": settings.embedding_rate, "weight_decay": 0.0},
        ]
        self.all: dict[str, Optimizer] = {}
        if settings.optimizer == "muon":
            self.all["muon"] = Muon(matrices, lr=settings.learning_rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
        else:
            adam.append({"params": matrices, "lr": settings.learning_rate, "weight_decay": decay})
        self.all["adamw"] = AdamW(adam, betas=_BETAS, eps=_EPS, fused=True)

    def step(self, factor: float) -> None:
        """One step at ``factor`` times the full rates."""
        for optimizer in self.all.values():
            set_rates(optimizer, factor)
            optimizer.step()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for optimizer in self.all.values():
            optimizer.zero_grad(set_to_none=True)


def warmup_stable_decay(done: float, *, warmup: float, decay: float) -> float:
    """The factor of the rates when the share ``done`` of a training is over: up, constant, and linearly down to 0.

    As in MiniCPM (Hu et al., 2024, arXiv:2404.06395): a training can be lengthened from any point of the constant part.
    """
    if done < warmup:
        return done / warmup
    return min(1.0, max(0.0, (1.0 - done) / decay))


def clip(parameters: Iterable[nn.Parameter], limit: float | None) -> float:
    """Clip gradients to a global norm; returns the norm before."""
    return float(torch.nn.utils.clip_grad_norm_(list(parameters), float("inf") if limit is None else limit))
