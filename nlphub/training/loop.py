"""One training as a loop that can be read: packed batches in, one fact for each optimizer step out.

Batches are packed, not padded. ``batch_size`` counts examples; batches with too many tokens are cut into parts whose gradients are
accumulated, so memory is bounded and hyper-parameters keep their meaning. Nothing here depends on a generator's state: the order of
examples follows (seed, epoch), the dropout masks (seed, step).

The options of :class:`nlphub.recipe.TrainSettings` live beside this file: what is minimised (:mod:`nlphub.training.objectives`), a second
pass where it is hardest (``adversarial``), averages of the weights (``average``), going back after a collapse (``backoff``).
"""

import hashlib
import json
import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from nlphub.checkpoints.native import tensors, weights_digest
from nlphub.data.batching import epoch_batches, micro_batches, pack
from nlphub.data.examples import Examples
from nlphub.errors import InputError, TrainingError
from nlphub.kernels import Noise
from nlphub.labels import score_name
from nlphub.module import Module
from nlphub.nn.encoder import to_tensors
from nlphub.nn.forms import variant_of
from nlphub.recipe import TrainSettings
from nlphub.tasks import trainable
from nlphub.tasks.targets import classes_of, count_judged, targets_of
from nlphub.text.encoding import Ints
from nlphub.training.adamw import AdamW, clip, sparse_gradients
from nlphub.training.adversarial import Adversary
from nlphub.training.average import Average
from nlphub.training.backoff import Backoff, backed_off_rate
from nlphub.training.distillation.teaching import Taught, Teaching
from nlphub.training.facts import Step
from nlphub.training.objectives import Objective, target_tensors
from nlphub.training.optim import schedule, set_rates
from nlphub.training.precision import autocast, precision
from nlphub.training.rows import read_rows
from nlphub.training.state import Progress

log = logging.getLogger(__name__)

_CUT = "%d of %d training texts are longer than %d tokens: their ends are not read"


class Loop:
    """A module, an optimizer, settings and tokenised training examples.

    Raises:
        InputError: options that contradict each other, or that the task or the module cannot have.
    """

    def __init__(
        self,
        module: Module,
        optimizer: torch.optim.Optimizer,
        settings: TrainSettings,
        train: Examples,
        dev: Examples | None = None,
        *,
        teaching: Teaching | None = None,
    ) -> None:
        self.module, self.optimizer, self.settings = module, optimizer, settings
        if settings.dropout is not None:
            module.set_dropout(settings.dropout)
        self.precision = precision(settings.precision, module.device)
        self.task = trainable(module.task, variant_of(module.task_head))
        _check_options(settings, module)
        self.encoded = read_rows(module, self.task, train)
        self.lengths, self.targets = self.encoded.lengths, self.encoded.targets
        if self.encoded.cut:
            log.warning(_CUT, self.encoded.cut, len(train), module.max_length)
        module.task_head.prepare(self.targets, trained=module.trained)
        self.objective: Objective | Taught = Objective.of(settings, self.targets, self.task.outputs(module.labels)).to(module.device)
        if teaching is not None:
            self.objective = teaching.lesson(self.objective, module=module, train=train, rows=self.encoded, optimizer=optimizer)
        self._sparse = self._sparse_table()
        self.adversary = Adversary.of(settings, module.encoder.embeddings.word.weight)
        named = tensors(module.encoder, module.head)
        self.average = Average(named, settings.average) if settings.average else None
        self.backoff = Backoff(named, optimizer, self.average, times=settings.backoff) if settings.backoff else None
        self.fingerprint = _fingerprint(settings, train, dev, module, optimizer, teaching)
        self._examples_per_step = settings.batch_size * settings.accumulation
        self.steps_per_epoch = math.ceil(len(train) / self._examples_per_step)
        self.total = self.steps_per_epoch * settings.epochs

    @property
    def weights(self) -> dict[str, Tensor]:
        """What a checkpoint has to hold besides the module and the moments: averages, weights to go back to, projections to a teacher."""
        averaged = self.average.averaged if self.average is not None else {}
        best = self.backoff.best if self.backoff is not None else {}
        learnt = self.objective.weights if isinstance(self.objective, Taught) else {}
        named = {f"average/{name}": tensor for name, tensor in averaged.items()} | {f"best/{name}": tensor for name, tensor in best.items()}
        return named | learnt

    def resumed(self, progress: Progress) -> None:
        """Take note that module, moments and :attr:`weights` are those of a checkpoint. Checkpoints are made of what was evaluated."""
        if self.average is not None:
            self.average.shown = progress.step > 0

    def batches(self, *, after: int) -> Iterator[tuple[int, Ints]]:
        """``(step, examples)`` of every optimizer step that follows step ``after``."""
        size, seed = self._examples_per_step, self.settings.seed
        classes = classes_of(self.targets) if self.settings.sampling == "balanced" else None
        for epoch in range(after // self.steps_per_epoch, self.settings.epochs):
            order = epoch_batches(self.lengths, batch_size=size, seed=seed, epoch=epoch, classes=classes)
            for number, batch in enumerate(order, start=epoch * self.steps_per_epoch + 1):
                if number > after:
                    yield number, batch

    def evaluates(self, number: int) -> bool:
        """Whether step ``number`` is an evaluation point: every so many steps or every epoch, and always the last step."""
        every = self.steps_per_epoch if self.settings.evaluate_every == "epoch" else self.settings.evaluate_every
        return number % every == 0 or number == self.total

    def step(self, number: int, batch: Ints, progress: Progress) -> Step:
        """One optimizer step on the examples ``batch``, or a return to the best weights.

        Raises:
            TrainingError: the loss or the gradients are not finite, and there is no going back; the weights are those before this step.
        """
        started = time.perf_counter()
        if self.average is not None:
            self.average.show(False)
        factor = schedule(number - 1, total=self.total, warmup=self.settings.warmup, shape=self.settings.schedule)
        rate = set_rates(self.optimizer, factor * backed_off_rate(progress))
        loss, norm = self.gradients(number, batch)
        progress, finite = replace(progress, step=number), math.isfinite(loss) and math.isfinite(norm)
        if finite:
            self._take(number, loss)
        elif self.backoff is not None and self.backoff.left(progress):
            progress = self.backoff.go_back(progress)
        else:
            raise TrainingError(
                f"Step {number}: the loss is {loss} and the norm of the gradients {norm} at learning rate {rate:g}. "
                "Use a smaller train.learning_rate, a longer train.warmup, or train.clip=1.0."
            )
        return Step(
            step=number,
            total=self.total,
            epoch=number / self.steps_per_epoch,
            loss=loss,
            rate=rate,
            examples=len(batch),
            tokens=int(self.lengths[batch].sum()),
            seconds=time.perf_counter() - started,
            evaluated=self.evaluates(number),
            backed_off=not finite,
            progress=progress,
        )

    def gradients(self, number: int, batch: Ints) -> tuple[float, float]:
        """Gradients of one step, clipped (by our own optimizer: in its step); the mean loss over the targets of ``batch``, and the norm of
        the gradients before clipping."""
        self.module.train()
        self.optimizer.zero_grad(set_to_none=True)
        with sparse_gradients(self._sparse):
            loss = self._backward(number, batch)
            if self.adversary is not None:
                self.adversary.attack(lambda only: self._backward(number, batch, only=only))
        self.module.eval()
        norm = clip(self.optimizer, self.module.parameters(), self.settings.clip)  # a device is waited for here, and nowhere before
        return float(loss), norm

    def show_evaluated(self) -> None:
        """Let the module have the weights that are evaluated and kept, until the next step: their averages, where there are any."""
        self.catch_up()
        if self.average is not None:
            self.average.show(True)

    def catch_up(self) -> None:
        """Let words that no training text has decay as the others do: between evaluations nobody reads them."""
        if isinstance(self.optimizer, AdamW):
            self.optimizer.catch_up()

    def settle(self, fact: Step, before: Progress) -> Step:
        """After an evaluation: go back to the best weights where that is asked for and needed."""
        return fact if self.backoff is None else self.backoff.settle(fact, before)

    def _take(self, number: int, loss: float) -> None:
        """Let the optimizer take the step."""
        self.optimizer.step()
        if self.average is not None:
            self.catch_up()
            self.average.update(number)
        if self.backoff is not None:
            self.backoff.note(loss)

    def _backward(self, number: int, batch: Ints, *, only: Sequence[Tensor] | None = None) -> Tensor:
        """Add the gradients (of the tensors ``only``, or of all) of the mean loss over the targets of ``batch``, part by part; the loss."""
        total = torch.zeros((), device=self.module.device)
        judged = max(1, count_judged(targets_of(self.targets, self.encoded, batch)))
        for part in self._parts(batch):
            with autocast(self.module.device, self.precision):
                losses = self._losses(part, Noise.of_step(self.settings.seed, number))
            share = losses.sum() / judged
            torch.autograd.backward(share, inputs=only)
            total += share.detach()
        return total

    def _sparse_table(self) -> nn.Embedding | None:
        """The word embedding, where its gradients are to be sparse: on a CPU, unless the head answers with words, which reads all of it."""
        words: nn.Embedding = self.module.encoder.embeddings.word
        weight: nn.Parameter = self.module.encoder.embeddings.word.weight
        if not isinstance(self.optimizer, AdamW) or weight.device.type != "cpu" or self.module.task_head.answers_words:
            return None
        return words if self.optimizer.only(weight, torch.from_numpy(self.encoded.words)) else None

    def _parts(self, batch: Ints) -> Iterator[Ints]:
        for first in range(0, len(batch), self.settings.batch_size):
            yield from micro_batches(batch[first : first + self.settings.batch_size], self.lengths, max_tokens=self.settings.max_tokens)

    def _losses(self, part: Ints, noise: Noise) -> Tensor:
        packed = to_tensors(self.module.task_head.arrange(pack(self.encoded, part)), self.module.device)
        targets = targets_of(self.targets, self.encoded, part)
        return self.objective.losses(self.module, packed, target_tensors(targets, self.module.device), noise)


def _check_options(settings: TrainSettings, module: Module) -> None:
    problems = settings.problems(str(module.task)) + settings.not_of_variant(variant_of(module.task_head))
    config = module.encoder.config
    if settings.r_drop and settings.dropout != 0 and not (config.dropout or config.attention_dropout or module.task_head.probability):
        problems.append("r_drop compares two passes with different dropout, and this module has none; set dropout")
    if settings.metric == "auc" and len(module.labels) != 2:
        problems.append(f"metric auc is of two labels, and this module has {len(module.labels)}")
    if problems:
        raise InputError("These training options do not fit:", problems)


def _fingerprint(
    settings: TrainSettings,
    train: Examples,
    dev: Examples | None,
    module: Module,
    optimizer: torch.optim.Optimizer,
    teaching: Teaching | None = None,
) -> str:
    """What has to be equal for two trainings to be the same one, taken before the first step."""
    facts = {
        "settings": {**settings.decisive(), "metric": score_name(settings.metric, str(module.task))},
        "data": [train.digest(), dev.digest() if dev is not None else None],
        "labels": module.labels,
        "max_length": module.max_length,
        "weights": weights_digest(module.encoder, module.head),
        "optimizer": [type(optimizer).__name__, [_options(group) for group in optimizer.param_groups]],
        **({"teaching": teaching.facts} if teaching is not None else {}),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _options(group: dict[str, Any]) -> dict[str, str]:
    """The options of a parameter group at its initial rate."""
    options = {**group, "lr": group.get("initial_lr", group["lr"])}
    return {name: str(value) for name, value in options.items() if name not in ("params", "initial_lr")}
