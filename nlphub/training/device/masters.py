"""Weights in float32 that are learnt, a working copy in lower precision that the network computes with, and one step of AdamW for both.

The module's own parameters are the masters, so that evaluation, averages and checkpoints need not know of the copy. Clipping, the step
and the copy read nothing on the host: rates, step numbers and "was that finite" are tensors on the device. A step whose loss or gradients
are not finite changes nothing, nor does any step behind it, until the host has seen it.

Notation: ``n`` parameters in all, ``g`` parameter groups.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nlphub import kernels
from nlphub.training.adamw import AdamW

_TINY = 1e-6  # added to the norm before clipping, as torch.nn.utils.clip_grad_norm_ does


class Working:
    """The weights that the network computes with.

    Args:
        module: has the masters.
        dtype: of the copies; with float32 the masters work themselves.

    Attributes:
        weights: by the module's names, leaves of autograd where the master is one.
        learnt: names of those that are learnt.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        self.masters: dict[str, Tensor] = dict(module.named_parameters())
        self.weights = {name: _copy(master, dtype) for name, master in self.masters.items()}
        self.learnt = tuple(name for name, master in self.masters.items() if master.requires_grad)
        self._copies = [name for name, weight in self.weights.items() if weight is not self.masters[name]]
        self._seen = self._versions()

    @property
    def copies(self) -> dict[int, Tensor]:
        """The copies, by the identities of their masters."""
        return {id(self.masters[name]): self.weights[name] for name in self._copies}

    @torch.no_grad()
    def copy(self) -> None:
        """Write the copies anew."""
        if self._copies:
            torch._foreach_copy_([self.weights[name] for name in self._copies], [self.masters[name] for name in self._copies])

    def refresh(self) -> None:
        """Write the copies anew where somebody else changed the masters: averages were shown, weights loaded."""
        if self._versions() != self._seen:
            self.copy()
            self.note()

    def note(self) -> None:
        """The masters changed, and the copies with them."""
        self._seen = self._versions()

    def _versions(self) -> tuple[int, ...]:
        return tuple(master._version for master in self.masters.values())


class Gradients:
    """The sum of the gradients of a step, and its loss, in one float32 tensor of ``n + 1`` values.

    Args:
        like: the weights, in order.
        device: where.

    Attributes:
        flat: ``(n + 1,)``; the last value is the loss.
    """

    def __init__(self, like: Sequence[Tensor], device: torch.device) -> None:
        sizes = [one.numel() for one in like]
        self.flat = torch.zeros(sum(sizes) + 1, device=device)
        self.views = [part.view(one.shape) for part, one in zip(torch.split(self.flat[:-1], sizes), like, strict=True)]
        self._used: tuple[int, ...] | None = None

    @property
    def used(self) -> tuple[int, ...]:
        """Numbers of the weights that the loss depends on."""
        return self._used if self._used is not None else tuple(range(len(self.views)))

    @torch.no_grad()
    def write(self, loss: Tensor, gradients: Sequence[Tensor | None]) -> None:
        """Put in a loss and its gradients, ``None`` for weights that it does not depend on.

        Raises:
            RuntimeError: it depends on other weights than before.
        """
        there = [(number, one) for number, one in enumerate(gradients) if one is not None]
        used = tuple(number for number, _ in there)
        if self._used is None:
            self._used = used
        elif self._used != used:
            raise RuntimeError("the loss of this batch depends on other weights than that of the batches before")
        torch._foreach_copy_([self.views[number] for number in used], [one for _, one in there])
        self.flat[-1].copy_(loss)


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """What the step does to one parameter group."""

    masters: list[Tensor]
    gradients: list[Tensor]
    first: list[Tensor]
    second: list[Tensor]
    copies: list[Tensor]
    steps: list[Tensor]
    betas: tuple[float, float]
    decay: float
    eps: float


class Update:
    """One step of ``torch.optim.AdamW`` on its own moments, without the host.

    Args:
        optimizer: over the masters. Its moments and step numbers are used and changed.
        working: the weights.
        gradients: of ``working.learnt``.
        clip: largest global norm of the gradients; ``None`` = no clipping.

    Attributes:
        rates: ``(g,)`` float32 learning rates of the groups, which the caller sets.
        told: ``(3,)`` float32: loss, norm before clipping, and 1 where this step or one before it was not finite.
    """

    def __init__(self, optimizer: torch.optim.AdamW, working: Working, gradients: Gradients, *, clip: float | None) -> None:
        self.working, self.gradients, self.clip = working, gradients, clip
        place = {id(working.masters[name]): number for number, name in enumerate(working.learnt)}
        self._groups = [_group(optimizer, group, place, working, gradients) for group in optimizer.param_groups]
        device = gradients.flat.device
        self.rates, self.told = torch.zeros(len(self._groups), device=device), torch.zeros(3, device=device)

    @property
    def halted(self) -> Tensor:
        """Whether steps change nothing any more: 1 or 0."""
        return self.told[2]

    @torch.no_grad()
    def __call__(self) -> None:
        """Clip, step, copy, tell. Only what is learnt changes, so only its copies are written."""
        loss, norm = self.gradients.flat[-1], torch.linalg.vector_norm(self.gradients.flat[:-1])
        wrong = 1.0 - (torch.isfinite(loss) & torch.isfinite(norm)).float()
        self.told.copy_(torch.stack([loss, norm, torch.maximum(self.halted, wrong)]))
        shrink = None if self.clip is None else ((norm + _TINY) / self.clip).clamp(min=1.0)
        counted = 1.0 - self.halted
        for number, group in enumerate(self._groups):
            if group.masters:
                _step(group, self.rates[number], counted=counted, shrink=shrink, halted=self.halted)


def _step(group: _Group, rate: Tensor, *, counted: Tensor, shrink: Tensor | None, halted: Tensor) -> None:
    torch._foreach_add_(group.steps, counted)
    kernels.adamw_all_(
        group.masters, group.gradients, group.first, group.second,
        steps=group.steps, rate=rate, halted=halted, beta1=group.betas[0], beta2=group.betas[1], eps=group.eps, decay=group.decay,
        divisor=shrink, copies=group.copies,
    )  # fmt: skip


def _group(optimizer: torch.optim.AdamW, options: dict[str, Any], place: dict[int, int], working: Working, gradients: Gradients) -> _Group:
    used = set(gradients.used)
    masters = [one for one in options["params"] if place.get(id(one), -1) in used]
    states, copies = [_moments(optimizer, one) for one in masters], working.copies
    return _Group(
        masters,
        [gradients.views[place[id(one)]] for one in masters],
        [state["exp_avg"] for state in states],
        [state["exp_avg_sq"] for state in states],
        [copies[id(one)] for one in masters if id(one) in copies],
        [state["step"] for state in states],
        tuple(options["betas"]),
        options["weight_decay"],
        options["eps"],
    )


def _moments(optimizer: torch.optim.AdamW, parameter: nn.Parameter) -> dict[str, Tensor]:
    """The optimizer's state of a parameter, made as it makes it where there is none; the step number on the parameter's device."""
    if isinstance(optimizer, AdamW):
        optimizer.widen(parameter)
    state: dict[str, Tensor] = optimizer.state[parameter]
    if not state:
        state["step"] = torch.zeros((), device=parameter.device)
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
    state["step"] = state["step"].to(parameter.device, torch.float32)
    return state


def _copy(master: Tensor, dtype: torch.dtype) -> Tensor:
    if dtype == torch.float32 or not master.is_floating_point():
        return master
    return master.detach().to(dtype).requires_grad_(master.requires_grad)
