"""The training loop of prototypes, as the Trainer sees one: batches, steps as facts, weights to evaluate.

``prototype`` is one step, which solves for the head (:mod:`nlphub.nn.prototypes`); the encoder stays as it is. ``contrastive`` is
SetFit's recipe (Tunstall et al., 2022, arXiv:2209.11055), with the contrastive loss of Khosla et al. (2020): the steps of
:class:`nlphub.training.loop.Loop` teach the encoder which texts belong together, and wherever it is evaluated prototypes are made of its
encodings. What the head balances is then chosen by the encoder as it was before: after learning the examples it knows them by heart.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from nlphub.data.examples import Examples
from nlphub.errors import InputError
from nlphub.module import Module
from nlphub.nn.contrastive import ContrastiveHead
from nlphub.nn.prototype import MOST_EXAMPLES
from nlphub.nn.prototypes import Fitted, Labelled, Left, fit_prototypes
from nlphub.recipe import TrainSettings
from nlphub.tasks.targets import classes_of
from nlphub.text.encoding import Ints
from nlphub.training.facts import Step
from nlphub.training.loop import Loop
from nlphub.training.state import Progress

log = logging.getLogger(__name__)


class FewLoop:
    """What :class:`~nlphub.training.loop.Loop` is to the Trainer, for ``prototype`` and ``contrastive``.

    Args:
        module: gets another head: between evaluations one that has no weights.
        optimizer: makes the one of the module's weights, once the module has its head; unused by ``prototype``.
        settings: ``method`` is one of the two. ``epochs``, ``batch_size`` and rates are those of the contrastive steps.
        train: single texts with labels, which :func:`check_few` has found fit.
        labels: of the module.
    """

    def __init__(
        self,
        module: Module,
        optimizer: Callable[[], torch.optim.Optimizer],
        settings: TrainSettings,
        train: Examples,
        dev: Examples | None = None,
        *,
        labels: Sequence[str],
    ) -> None:
        self.module, self.settings, self.labels = module, settings, tuple(labels)
        self._contrast = ContrastiveHead(module.encoder.config.width, len(labels))
        module.take_head(self._contrast, self.labels)
        own = settings.model_copy(update={"label_smoothing": 0.0})  # cross-entropy has one, and there is none here
        self._steps = Loop(module, optimizer(), own, train, dev)
        self.fingerprint = self._steps.fingerprint
        self._examples = Labelled(module.tokenize(train.texts), classes_of(self._steps.targets).astype(np.int64))
        self._before: Left | None = None
        self._before = self._fit().left if self._learns else None

    @property
    def weights(self) -> dict[str, Tensor]:
        """Nothing, besides the module and the moments."""
        return {}

    def resumed(self, progress: Progress) -> None:
        """A checkpoint holds all there is to know."""

    def batches(self, *, after: int) -> Iterator[tuple[int, Ints]]:
        """``(step, examples)`` of every step that follows step ``after``; of ``prototype`` one step with all of them."""
        rows = np.arange(len(self._examples.targets))
        if not self._learns:
            yield from [(1, rows)][after:]
            return
        size, each = self.settings.batch_size * self.settings.accumulation, self._steps.steps_per_epoch
        for epoch in range(after // each, self.settings.epochs):
            order = paired_order(self._examples.targets, seed=self.settings.seed, epoch=epoch)
            for place in range(each):
                batch, number = order[place * size : (place + 1) * size], epoch * each + place + 1
                if number > after:
                    yield number, batch[np.argsort(self._steps.lengths[batch], kind="stable")]

    def step(self, number: int, batch: Ints, progress: Progress) -> Step:
        """One step. Raises as :meth:`nlphub.training.loop.Loop.step`."""
        if self._learns:
            self.module.take_head(self._contrast, self.labels)
            return self._steps.step(number, batch, progress)
        started = time.perf_counter()
        left = self._prepare()
        log.info(
            "prototypes of %d examples: %.3f of them would be answered rightly if left out (%s)", len(batch), left.accuracy, left.balance
        )
        return Step(
            step=1,
            total=1,
            epoch=1.0,
            loss=left.error,
            rate=0.0,
            examples=len(batch),
            tokens=int(self._steps.lengths.sum()),
            seconds=time.perf_counter() - started,
            evaluated=True,
            progress=replace(progress, step=1),
        )

    def show_evaluated(self) -> None:
        """Give the module prototypes of what its encoder makes of the examples now."""
        self.catch_up()
        if self._learns:
            self._prepare()

    def catch_up(self) -> None:
        """As of :class:`nlphub.training.loop.Loop`."""
        self._steps.catch_up()

    def settle(self, fact: Step, before: Progress) -> Step:
        """There is no going back."""
        return fact

    @property
    def _learns(self) -> bool:
        return self.settings.method == "contrastive"

    def _prepare(self) -> Left:
        fitted = self._fit()
        self.module.take_head(fitted.head, self.labels, trained=True)
        return fitted.left

    def _fit(self) -> Fitted:
        balance = self._before.balance if self._learns and self._before else None
        return fit_prototypes(self.module.encoder, self._examples, len(self.labels), balance=balance)


def check_few(settings: TrainSettings, train: Examples, *, task: str) -> None:
    """Check that prototypes can be made of these examples, or that ``auto`` may choose them.

    Raises:
        InputError: they cannot; all reasons at once.
    """
    problems = settings.problems(task)
    if task == "seq-cls" and train.pairs is not None:
        problems.append("prototypes are of single texts, and these examples are pairs")
    if settings.method != "prototype" and settings.accumulation > 1:
        problems.append(f"contrastive compares the texts of a whole batch, which accumulation={settings.accumulation} takes apart")
    if settings.method != "auto" and len(train) > MOST_EXAMPLES:
        problems.append(f"prototypes are for few examples, at most {MOST_EXAMPLES:,}, and these are {len(train):,}")
    if problems:
        raise InputError(f"train.method={settings.method} is not possible here; leave it out to fine-tune:", problems)


def paired_order(targets: Ints, *, seed: int, epoch: int) -> Ints:
    """``(n,)`` an order of all examples in which those of a label stand in twos (or one three), so that each has company in a batch.

    Args:
        seed: with ``epoch`` it decides the order; the same pair always gives the same one.
    """
    generator = np.random.default_rng([seed, epoch])
    groups: list[Ints] = []
    for label in np.unique(targets):
        rows = generator.permutation(np.flatnonzero(targets == label))
        groups += np.array_split(rows, max(1, len(rows) // 2))
    return np.concatenate([groups[place] for place in generator.permutation(len(groups))])
