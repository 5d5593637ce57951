"""What a training minimises: the loss of each target, plain or with the options of :class:`nlphub.recipe.TrainSettings`.

Notation: ``r`` rows that have targets (texts of seq-cls, tokens of token-cls), ``n`` outputs of the head.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nlphub.data.batching import Packed
from nlphub.errors import InputError
from nlphub.kernels import Noise
from nlphub.module import Module
from nlphub.nn.encoder import sent
from nlphub.recipe import TrainSettings
from nlphub.tasks.base import IGNORED, Targets
from nlphub.tasks.targets import classes_of
from nlphub.text.encoding import Ints


@dataclass(frozen=True, slots=True, eq=False)
class Objective:
    """The loss of each row.

    Attributes:
        class_weights: ``(n,)`` factors of the losses, or ``None``.
        label_smoothing: share of the target that is spread over all outputs.
        focal: exponent of the focal loss; 0 = plain cross-entropy.
        r_drop: weight of the divergence of two passes; 0 = one pass.
        asymmetric: exponent of the asymmetric loss; 0 = plain binary cross-entropy.
        slot_weight: of the slots' loss in joint.
    """

    class_weights: Tensor | None = None
    label_smoothing: float = 0.0
    focal: float = 0.0
    r_drop: float = 0.0
    asymmetric: float = 0.0
    slot_weight: float = 1.0

    @classmethod
    def of(cls, settings: TrainSettings, targets: Targets, names: Sequence[str]) -> "Objective":
        """What these settings ask for; see :func:`class_weights`."""
        weights = None if settings.class_weights == "none" else class_weights(settings.class_weights, classes_of(targets), names)
        return cls(weights, settings.label_smoothing, settings.focal, settings.r_drop, settings.asymmetric, settings.slot_weight)

    def to(self, device: torch.device) -> "Objective":
        """The same with its tensors on a device, so that no batch waits for them."""
        return self if self.class_weights is None else replace(self, class_weights=self.class_weights.to(device))

    @property
    def options(self) -> dict[str, Any]:
        """Those of the head's loss that are on."""
        named = {"class_weights": self.class_weights, "label_smoothing": self.label_smoothing, "asymmetric": self.asymmetric}
        weight = {} if self.slot_weight == 1 else {"slot_weight": self.slot_weight}
        return {name: value for name, value in named.items() if isinstance(value, Tensor) or value} | weight

    def losses(self, module: Module, packed: Packed[Tensor], targets: Any, noise: Noise) -> Tensor:
        """``(r,)`` float32; rows without a target have 0. A head whose loss is not of rows, but of whole texts, gives what it gives.

        With ``r_drop`` (Liang et al., 2021, arXiv:2106.14448) it is the mean of the losses of two passes with different dropout, and
        ``r_drop`` times the mean of the two divergences between them, as in the example of the authors' code (in the paper's formula
        the losses are added, so its weight counts half of this one).
        """
        first = module(packed, noise=noise)
        if not self.r_drop:
            return self.of_logits(module, packed, first, targets)
        second = module(packed, noise=_other(noise))
        told = 0.5 * (self.of_logits(module, packed, first, targets) + self.of_logits(module, packed, second, targets))
        there: Tensor = targets != IGNORED
        return told + self.r_drop * divergence(first, second) * there

    def of_logits(self, module: Module, packed: Packed[Tensor], logits: Tensor, targets: Any) -> Tensor:
        """``(r,)`` the losses of one pass, whose logits are ``(r, n)``."""
        losses = module.task_head.loss(logits, targets, packed=packed, **self.options)
        return losses * focal_factor(logits, targets, self.focal) if self.focal else losses


def target_tensors(targets: Targets, device: torch.device) -> Any:
    """The same as a tensor, or as a tuple of tensors."""
    if isinstance(targets, tuple):
        return tuple(sent(torch.from_numpy(one), device) for one in targets)
    return sent(torch.from_numpy(targets), device)


def focal_factor(logits: Tensor, targets: Tensor, gamma: float) -> Tensor:
    """``(r,)``: ``(1 - p) ** gamma`` of the probability p of the right output (Lin et al., 2017, arXiv:1708.02002), float32.

    It is computed from the logarithm of what the other outputs have together, so that its gradient stays finite where p is 1.
    """
    logits = logits.float()
    right = F.one_hot(targets.clamp(min=0), logits.shape[1]).bool()
    others = logits.masked_fill(right, -torch.inf).logsumexp(1) - logits.logsumexp(1)
    return torch.exp(gamma * others)


def divergence(first: Tensor, second: Tensor) -> Tensor:
    """``(r,)``: the mean of the Kullback-Leibler divergences of two logits ``(r, n)`` in either direction, in nats, float32."""
    one, other = first.float().log_softmax(1), second.float().log_softmax(1)
    return 0.5 * ((one.exp() - other.exp()) * (one - other)).sum(1)


def class_weights(wanted: str | Mapping[str, float], targets: Ints, names: Sequence[str]) -> Tensor | None:
    """Factors of the classes' losses, ``(len(names),)`` float32.

    Args:
        wanted: ``none``; ``balanced``: examples / (classes x examples of the class), as in scikit-learn; or a factor for each label
            (1 for those that are not named).
        targets: numbers of the training examples' classes (of their tokens', for token-cls).
        names: of the classes, in the order of the logits: labels, or tags such as ``B-company``.

    Raises:
        InputError: factors for classes that do not exist.
    """
    if wanted == "none":
        return None
    if wanted == "balanced":
        counts = np.bincount(targets[targets != IGNORED], minlength=len(names)).tolist()
        return torch.tensor([sum(counts) / (len(names) * max(1, count)) for count in counts])
    assert not isinstance(wanted, str)
    check_weights(wanted, names)
    return torch.tensor([float(wanted.get(name, 1.0)) for name in names])


def check_weights(wanted: str | Mapping[str, float], names: Sequence[str]) -> None:
    """Refuse factors for classes that do not exist.

    Raises:
        InputError: there are some; all are named.
    """
    if not isinstance(wanted, str) and (unknown := sorted(set(wanted) - set(names))):
        raise InputError(f"class_weights names classes that are not in the data: {', '.join(unknown)}")


def _other(noise: Noise) -> Noise:
    """The second pass's: it follows the first one's seed, and so the step."""
    return Noise.of_step(int(noise.seed), 1)
