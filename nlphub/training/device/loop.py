"""The training loop on a device that is not waited for: the steps of :class:`nlphub.training.loop.Loop`, their losses told one step late.

Order of examples, dropout masks and rates are the same, so the losses are those of the plain loop but for rounding. A step that is not
finite changes nothing, and the steps launched behind it change nothing either: the error names it, and the weights are those before it.
"""

import itertools
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NoReturn

import torch

from nlphub.data.batching import epoch_batches, pack
from nlphub.errors import TrainingError
from nlphub.kernels import Noise
from nlphub.tasks.targets import classes_of, count_judged, targets_of
from nlphub.text.encoding import Ints
from nlphub.training.device.buckets import Shapes
from nlphub.training.device.graphs import Calls, Graphs, Recorder
from nlphub.training.device.steps import DeviceStep, Part, Told
from nlphub.training.facts import Step
from nlphub.training.loop import Loop
from nlphub.training.objectives import Objective
from nlphub.training.optim import schedule, set_rates
from nlphub.training.state import Progress

log = logging.getLogger(__name__)

_SAMPLED = 2000  # batches of the first epoch from which shapes are chosen
_TRIED = 200  # of them, to see whether graphs are of use
_SHAPES = 8


class DeviceLoop(Loop):
    """A :class:`~nlphub.training.loop.Loop` whose steps are launched and read later; :func:`nlphub.training.device.choose.unfit` says
    which trainings can have it.

    Args:
        given, options: those of the base class; the optimizer is ``torch.optim.AdamW``.
        recorder: what repeats the work of a shape; default: CUDA graphs on a CUDA device, else calls.
    """

    def __init__(self, *given: Any, recorder: Recorder | None = None, **options: Any) -> None:
        super().__init__(*given, **options)
        self._recorder = recorder or (Graphs(self.module.device) if self.module.device.type == "cuda" else Calls())
        self._device_step: DeviceStep | None = None
        self._following: tuple[int, Ints] | None = None
        self._ahead: tuple[int, list[Part]] | None = None
        self._late: tuple[int, Callable[[], Told]] | None = None
        self._read: dict[int, tuple[float, float]] = {}
        self._since = time.perf_counter()

    def batches(self, *, after: int) -> Iterator[tuple[int, Ints]]:
        """As the base class; remembers what follows, to bring it to the device ahead of time."""
        now, ahead = itertools.tee(super().batches(after=after))
        next(ahead, None)
        for given, self._following in itertools.zip_longest(now, ahead):
            yield given

    def step(self, number: int, batch: Ints, progress: Progress) -> Step:
        """Launch a step. Its fact has no loss yet (NaN), unless it is an evaluation point; :meth:`told` fills it in.

        Raises:
            TrainingError: the loss or the gradients of this step or of the one before it are not finite; the weights are those before.
        """
        if self._late is None:
            self._since = time.perf_counter()
        if self.average is not None:
            self.average.show(False)
        rate = set_rates(self.optimizer, self._factor(number))
        parts = self._ahead[1] if self._ahead is not None and self._ahead[0] == number else list(self._device_parts(number, batch))
        self._ahead = (self._following[0], list(self._device_parts(*self._following))) if self._following is not None else None
        waiting = self._engine().launch(parts, self._ahead[1][0] if self._ahead is not None else None)
        if self.average is not None:
            self.average.update(number)
        self._settle()
        self._late = number, waiting
        if evaluated := self.evaluates(number):
            self._settle()
        loss, seconds = self._read.pop(number) if evaluated else (math.nan, math.nan)
        return Step(
            step=number,
            total=self.total,
            epoch=number / self.steps_per_epoch,
            loss=loss,
            rate=rate,
            examples=len(batch),
            tokens=int(self.lengths[batch].sum()),
            seconds=seconds,
            evaluated=evaluated,
            progress=replace(progress, step=number),
        )

    def told(self, facts: Iterator[Step]) -> Iterator[Step]:
        """Facts of :meth:`step` with their losses: each when the next step was launched, or at once at an evaluation point."""
        late: Step | None = None
        for fact in facts:
            if late is not None:
                yield self._filled(late)
            late = None if fact.evaluated else fact
            if fact.evaluated:
                yield fact
        if late is not None:
            self._settle()
            yield self._filled(late)

    def _sparse_table(self) -> None:
        """Gradients are dense: what is read differs from batch to batch, and a graph's shapes do not."""

    def _filled(self, fact: Step) -> Step:
        loss, seconds = self._read.pop(fact.step)
        return replace(fact, loss=loss, seconds=seconds)

    def _settle(self) -> None:
        """Read what the last launched step but this one told."""
        if self._late is None:
            return
        (number, wait), self._late = self._late, None
        told, now = wait(), time.perf_counter()
        self._read[number] = told.loss, now - self._since
        self._since = now
        if not told.finite:
            self._stop(number, told)

    def _stop(self, number: int, told: Told) -> NoReturn:
        rate = max(float(group["initial_lr"]) for group in self.optimizer.param_groups) * self._factor(number)
        raise TrainingError(
            f"Step {number}: the loss is {told.loss} and the norm of the gradients {told.norm} at learning rate {rate:g}. "
            "Use a smaller train.learning_rate, a longer train.warmup, or train.clip=1.0."
        )

    def _factor(self, number: int) -> float:
        return schedule(number - 1, total=self.total, warmup=self.settings.warmup, shape=self.settings.schedule)

    def _engine(self) -> DeviceStep:
        """Made at the first step: resuming puts other moments into the optimizer."""
        if self._device_step is None:
            assert isinstance(self.objective, Objective)
            assert isinstance(self.optimizer, torch.optim.AdamW)
            self._device_step = DeviceStep(
                self.module,
                self.objective,
                self.optimizer,
                dtype=self.precision,
                clip=self.settings.clip,
                shapes=self._shapes(),
                recorder=self._recorder,
                most=_SHAPES,
            )
        return self._device_step

    def _shapes(self) -> Shapes:
        """Chosen by the batches of the first epoch."""
        classes = classes_of(self.targets) if self.settings.sampling == "balanced" else None
        order = epoch_batches(self.lengths, batch_size=self._examples_per_step, seed=self.settings.seed, epoch=0, classes=classes)
        parts = [self.lengths[part] for batch in itertools.islice(order, _SAMPLED) for part in self._parts(batch)]
        shapes = Shapes.of(parts, most=_SHAPES, positions=self.module.encoder.config.positions)
        fitting = sum(shapes.fit(part) is not None for part in parts[:_TRIED])
        if 2 * fitting < len(parts[:_TRIED]):
            log.warning("only %d of %d batches have a shape that is captured; the others run without a graph", fitting, len(parts[:_TRIED]))
        return shapes

    def _device_parts(self, number: int, batch: Ints) -> Iterator[Part]:
        judged = max(1, count_judged(targets_of(self.targets, self.encoded, batch)))
        seed = Noise.of_step(self.settings.seed, number).seed
        rates = [group.get("initial_lr", group["lr"]) * self._factor(number) for group in self.optimizer.param_groups]
        for examples in self._parts(batch):
            packed = self.module.task_head.arrange(pack(self.encoded, examples))
            yield Part(packed, targets_of(self.targets, self.encoded, examples), 1.0 / judged, int(seed), rates)
