"""Going back to the best weights when a training collapses, a bounded number of times, each at half the rate.

It follows from the facts of the training alone, and all that it remembers is part of a checkpoint: a run that was stopped goes back at
the same step.
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from nlphub.training.average import Average
from nlphub.training.facts import Step
from nlphub.training.state import Progress

log = logging.getLogger(__name__)

_FACTOR = 0.5  # of the rate, each time
_KEPT = 0.75  # share of the best score below which an evaluation is a collapse


def backed_off_rate(progress: Progress) -> float:
    """The factor of the rates after so many returns."""
    return _FACTOR**progress.backoffs


class Backoff:
    """The best weights so far, and when to go back to them.

    A collapse is a loss or gradient that is not finite; a dev score that fell by more than a quarter of the best one; or, where no better
    score contradicts it, a mean loss between two evaluations that is above that of before the first. The optimizer's moments, which may be
    what is broken, begin anew; so does the count of ``patience``.

    Args:
        weights: of the network, by name; as they are now they count as the best until the first evaluation.
        optimizer: over them.
        average: of them, if any.
        times: how often at most.
    """

    def __init__(self, weights: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, average: Average | None, *, times: int) -> None:
        self.weights, self.optimizer, self.average, self.times = weights, optimizer, average, times
        self.best = {name: tensor.detach().clone() for name, tensor in weights.items()}
        self._losses: list[float] = []  # since the last evaluation

    def left(self, progress: Progress) -> bool:
        """Whether it may go back once more."""
        return progress.backoffs < self.times

    def note(self, loss: float) -> None:
        """Take in the loss of a step."""
        self._losses.append(loss)

    @torch.no_grad()
    def go_back(self, progress: Progress) -> Progress:
        """Put the best weights back and forget the optimizer's moments."""
        for name, tensor in self.weights.items():
            tensor.copy_(self.best[name])
        if self.average is not None:
            self.average.restart()
        self.optimizer.state.clear()
        log.warning("step %d: the training collapsed; it goes on from its best weights, of step %d", progress.step, progress.best_step)
        return replace(progress, backoffs=progress.backoffs + 1, stale=0)

    def settle(self, fact: Step, before: Progress) -> Step:
        """After an evaluation: remember weights that are the best so far, or go back.

        Args:
            fact: of the evaluation; the network has the weights that were evaluated.
            before: the progress before it was judged.
        """
        loss = math.fsum(self._losses) / len(self._losses) if self._losses else None
        self._losses.clear()
        progress = replace(fact.progress, first_loss=loss if before.first_loss is None else before.first_loss)
        if self.left(progress) and _collapsed(fact, before, loss):
            earlier = replace(progress, best_score=before.best_score, best_step=before.best_step)
            return replace(fact, improved=False, backed_off=True, progress=self.go_back(earlier))
        if fact.improved:
            self._keep()
        return replace(fact, progress=progress)

    @torch.no_grad()
    def _keep(self) -> None:
        for name, tensor in self.weights.items():
            self.best[name].copy_(tensor)


def _collapsed(fact: Step, before: Progress, loss: float | None) -> bool:
    """Whether an evaluation shows weights that are worse than they were."""
    if fact.score is not None and fact.improved:
        return False
    if fact.score is not None and before.best_score is not None and fact.score < _KEPT * before.best_score:
        return True
    return loss is not None and before.first_loss is not None and loss > before.first_loss
