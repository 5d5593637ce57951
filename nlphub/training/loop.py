"""One training as a loop that can be read: packed batches in, one fact for each optimizer step out.

Batches are packed, not padded. ``batch_size`` counts examples; batches with too many tokens are cut into parts whose gradients are
accumulated, so memory is bounded and hyper-parameters keep their meaning. Nothing here depends on a generator's state: the order of
examples follows (seed, epoch), the dropout masks (seed, step).
"""

import hashlib
import json
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nlphub.checkpoints.native import weights_digest
from nlphub.data.batching import epoch_batches, micro_batches, pack, token_rows
from nlphub.data.examples import Examples
from nlphub.errors import InputError, TrainingError
from nlphub.evaluation.metrics import Metrics
from nlphub.kernels import Noise
from nlphub.labels import score_name
from nlphub.module import Module
from nlphub.nn.encoder import to_tensors
from nlphub.recipe import TrainSettings
from nlphub.tasks import trainable
from nlphub.tasks.base import IGNORED
from nlphub.text.encoding import Encoded, Ints
from nlphub.training.optim import schedule, set_rates
from nlphub.training.precision import autocast, precision
from nlphub.training.state import Progress

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step, as a fact.

    Attributes:
        step: its number, from 1, of ``total``.
        epoch: passes over the data so far, as a fraction.
        loss: mean over the examples of the batch, or over their tokens where each token has a label.
        rate: the largest learning rate in force.
        examples: examples of the batch.
        tokens: tokens of the batch.
        seconds: what the step took, without the evaluation.
        evaluated: whether this step is an evaluation point: checkpoints are made here.
        evaluation: scores on the dev set at an evaluation point, when there is a dev set.
        improved: whether they are the best so far.
        progress: what a checkpoint made now has to know.
    """

    step: int
    total: int
    epoch: float
    loss: float
    rate: float
    examples: int
    tokens: int
    seconds: float
    progress: Progress
    evaluated: bool = False
    evaluation: Metrics | None = None
    improved: bool = False

    def as_dict(self) -> dict[str, Any]:
        """One line of ``metrics.jsonl``."""
        fact: dict[str, Any] = {"step": self.step, "epoch": round(self.epoch, 4), "loss": self.loss, "rate": self.rate}
        fact |= {"tokens": self.tokens, "tokens_per_second": round(self.tokens / self.seconds)}
        if self.evaluation is not None:
            fact |= {**self.evaluation.headlines, "improved": self.improved}
        return fact


class Loop:
    """A module, an optimizer, settings and tokenised training examples."""

    def __init__(
        self,
        module: Module,
        optimizer: torch.optim.Optimizer,
        settings: TrainSettings,
        train: Examples,
        dev: Examples | None = None,
    ) -> None:
        self.module, self.optimizer, self.settings = module, optimizer, settings
        if settings.dropout is not None:
            module.set_dropout(settings.dropout)
        self.precision = precision(settings.precision, module.device)
        self.task = trainable(module.task)
        self.encoded = module.tokenize(train.texts, train.pairs)
        self.lengths = self.encoded.lengths
        _tell_of_cuts(self.encoded, module.max_length)
        self.targets = self.task.targets(train, self.encoded, module.labels)
        self.class_weights = class_weights(settings.class_weights, self.targets, self.task.outputs(module.labels))
        self.fingerprint = _fingerprint(settings, train, dev, module, optimizer)
        self._examples_per_step = settings.batch_size * settings.accumulation
        self.steps_per_epoch = math.ceil(len(train) / self._examples_per_step)
        self.total = self.steps_per_epoch * settings.epochs

    def batches(self, *, after: int) -> Iterator[tuple[int, Ints]]:
        """``(step, examples)`` of every optimizer step that follows step ``after``."""
        for epoch in range(after // self.steps_per_epoch, self.settings.epochs):
            order = epoch_batches(self.lengths, batch_size=self._examples_per_step, seed=self.settings.seed, epoch=epoch)
            for number, batch in enumerate(order, start=epoch * self.steps_per_epoch + 1):
                if number > after:
                    yield number, batch

    def evaluates(self, number: int) -> bool:
        """Whether step ``number`` is an evaluation point: every so many steps or every epoch, and always the last step."""
        every = self.steps_per_epoch if self.settings.evaluate_every == "epoch" else self.settings.evaluate_every
        return number % every == 0 or number == self.total

    def step(self, number: int, batch: Ints, progress: Progress) -> Step:
        """One optimizer step on the examples ``batch``.

        Raises:
            TrainingError: the loss or the gradients are not finite; the weights are those before this step.
        """
        started = time.perf_counter()
        factor = schedule(number - 1, total=self.total, warmup=self.settings.warmup, shape=self.settings.schedule)
        rate = set_rates(self.optimizer, factor)
        loss = self._backward(number, batch)
        limit = math.inf if self.settings.clip is None else self.settings.clip
        norm = float(torch.nn.utils.clip_grad_norm_(self.module.parameters(), limit))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise TrainingError(
                f"Step {number}: the loss is {loss} and the norm of the gradients {norm} at learning rate {rate:g}. "
                "Use a smaller train.learning_rate, a longer train.warmup, or train.clip=1.0."
            )
        self.optimizer.step()
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
            progress=replace(progress, step=number),
        )

    def _backward(self, number: int, batch: Ints) -> float:
        """Gradients of the mean loss over the targets of ``batch``, accumulated part by part; returns that loss."""
        self.module.train()
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.module.device)
        judged = max(1, int((self.targets[self._rows(batch)] != IGNORED).sum()))
        for part in self._parts(batch):
            with autocast(self.module.device, self.precision):
                losses = self._losses(part, Noise.of_step(self.settings.seed, number))
            share = losses.sum() / judged
            torch.autograd.backward(share)
            total += share.detach()
        self.module.eval()
        return float(total)

    def _parts(self, batch: Ints) -> Iterator[Ints]:
        for first in range(0, len(batch), self.settings.batch_size):
            yield from micro_batches(batch[first : first + self.settings.batch_size], self.lengths, max_tokens=self.settings.max_tokens)

    def _rows(self, examples: Ints) -> Ints:
        """Where the targets of these examples stand."""
        return examples if self.task.rows == "cls" else token_rows(self.encoded, examples)

    def _losses(self, part: Ints, noise: Noise) -> Tensor:
        packed = to_tensors(pack(self.encoded, part), self.module.device)
        logits = self.module(packed, noise=noise)
        return self.module.task_head.loss(
            logits,
            torch.from_numpy(self.targets[self._rows(part)]).to(logits.device),
            class_weights=self.class_weights,
            label_smoothing=self.settings.label_smoothing,
        )


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


def _tell_of_cuts(encoded: Encoded, max_length: int) -> None:
    if cut := int(encoded.truncated.sum()):
        log.warning("%d of %d training texts are longer than %d tokens: their ends are not read", cut, len(encoded), max_length)


def _fingerprint(settings: TrainSettings, train: Examples, dev: Examples | None, module: Module, optimizer: torch.optim.Optimizer) -> str:
    """What has to be equal for two trainings to be the same one, taken before the first step."""
    facts = {
        "settings": {**settings.model_dump(mode="json"), "metric": score_name(settings.metric, str(module.task))},
        "data": [train.digest(), dev.digest() if dev is not None else None],
        "labels": module.labels,
        "max_length": module.max_length,
        "weights": weights_digest(module.encoder, module.head),
        "optimizer": [type(optimizer).__name__, [_options(group) for group in optimizer.param_groups]],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _options(group: dict[str, Any]) -> dict[str, str]:
    """The options of a parameter group at its initial rate."""
    options = {**group, "lr": group.get("initial_lr", group["lr"])}
    return {name: str(value) for name, value in options.items() if name not in ("params", "initial_lr")}
