"""One pretraining as a loop that can be read: masked batches in, one fact for each optimizer step out.

Order, masks and dropout follow (seed, step) and nothing else, so a training that is stopped and goes on ends with the same weights as
one that ran through (on the same machine, when its length is given in steps).
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nlphub.checkpoints import native
from nlphub.data.batching import micro_batches, pack
from nlphub.errors import TrainingError
from nlphub.kernels import Noise
from nlphub.module import Module
from nlphub.nn.encoder import Encoder, to_tensors
from nlphub.recipe.pretraining import PretrainSettings
from nlphub.text.encoding import Encoded, Ints
from nlphub.text.masking import IGNORED
from nlphub.training.average import Average
from nlphub.training.memory import freed_memory_kept
from nlphub.training.precision import autocast, precision
from nlphub.training.pretraining.lessons import Lesson, Lessons
from nlphub.training.pretraining.optimizers import Optimizers, clip, warmup_stable_decay
from nlphub.training.pretraining.sampling import Sampler
from nlphub.training.pretraining.speed import matrix_flops, token_flops

_REFRESH = 50  # steps between two looks for new shards
_TEMPERATURE = 0.05  # of the likeness of two views, as in SimCSE
_VIEWS_WEIGHT = 0.3  # of their loss beside that of the words, which is in nats too


@dataclass(frozen=True, slots=True)
class Position:
    """How far a pretraining has come.

    Attributes:
        step: optimizer steps done.
        tokens: tokens read, special ones included.
        seconds: time of training so far.
        taken: shard -> sequences taken from it.
    """

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    taken: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fact:
    """One optimizer step.

    Attributes:
        position: after the step.
        done: share of the training that is over.
        loss: mean cross-entropy of the predicted tokens, in nats.
        accuracy: share of them whose best guess is right.
        pairs: share of the pairs whose passages were told right to say the same or not; ``None`` without pairs.
        views: share of the passages whose other version was found among all of the step; ``None`` without views.
        factor: of the learning rates.
        depth: layers that ran.
        mask: share of words that were masked.
        norm: of the gradients, before clipping.
        tokens: of this step, special ones included.
        predicted: of them.
        seconds: what the step took.
        utilisation: operations per second as a share of what products of large matrices reach on this machine (MFU).
    """

    position: Position
    done: float
    loss: float
    accuracy: float
    factor: float
    depth: int
    mask: float
    norm: float
    tokens: int
    predicted: int
    pairs: float | None = None
    views: float | None = None
    seconds: float = math.inf
    utilisation: float = 0.0

    @property
    def tokens_per_second(self) -> float:
        """Speed of this step."""
        return self.tokens / self.seconds

    def as_dict(self) -> dict[str, Any]:
        """One line of ``metrics.jsonl``."""
        facts = {
            "step": self.position.step,
            "tokens": self.position.tokens,
            "seconds": round(self.position.seconds, 1),
            "done": round(self.done, 4),
            "loss": round(self.loss, 4),
            "accuracy": round(self.accuracy, 4),
            "factor": round(self.factor, 4),
            "depth": self.depth,
            "mask": round(self.mask, 4),
            "norm": round(self.norm, 3),
            "tokens_per_second": round(self.tokens_per_second),
            "mfu": float(f"{self.utilisation:.3g}"),
        }
        more = {"pairs": self.pairs, "views": self.views}
        return facts | {name: round(value, 4) for name, value in more.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Learnt:
    """How well a step was answered: the mean loss of the masked words, and shares of right answers (see :class:`Fact`)."""

    loss: float
    accuracy: float
    pairs: float | None
    views: float | None


class Pretraining:
    """A module with a masked-LM head, settings and a sampler; :meth:`steps` trains it."""

    def __init__(self, module: Module, settings: PretrainSettings, sampler: Sampler, position: Position | None = None) -> None:
        self.module, self.settings, self.sampler = module, settings, sampler
        self.position = position or Position()
        if settings.dropout:
            module.set_dropout(settings.dropout)
        self.optimizers = Optimizers(module.encoder, module.task_head, settings)
        self.average = Average(native.tensors(module.encoder, module.task_head), settings.average) if settings.average else None
        self.precision = precision(settings.precision, module.device)
        self.lessons = Lessons(module.tokenizer, settings)
        self._peak = matrix_flops(module.device, self.precision)

    @property
    def done(self) -> float:
        """Share of the training that is over."""
        if self.settings.steps is not None:
            return self.position.step / self.settings.steps
        assert self.settings.minutes is not None
        return self.position.seconds / (60 * self.settings.minutes)

    @property
    def depth(self) -> int:
        """Layers that run now: progressive stacking (Gong et al., 2019, ICML), but the layers that join are damped, not copied."""
        layers: int = self.module.encoder.config.layers
        return min(self.settings.shallow_layers, layers) if self.done < self.settings.shallow else layers

    def steps(self) -> Iterator[Fact]:
        """Train until the end; one fact for each step.

        Raises:
            TrainingError: loss or gradients are not finite; the weights are those before that step.
            DataError: a shard that appeared is damaged or was made with another tokenizer.
        """
        with freed_memory_kept(self.module.device):
            yield from self._steps()

    def _steps(self) -> Iterator[Fact]:
        began, before = time.perf_counter(), self.position.seconds
        while self.done < 1.0:
            started = time.perf_counter()
            if self.position.step % _REFRESH == 0:
                self.sampler.refresh()
            fact = self._step(self.position.step + 1)
            now = time.perf_counter()
            self.position = replace(fact.position, seconds=before + now - began)
            yield replace(fact, position=self.position, seconds=now - started, utilisation=self._flops(fact) / (now - started) / self._peak)

    def _step(self, number: int) -> Fact:
        settings, done, depth = self.settings, self.done, self.depth
        if settings.steps is not None:
            factor = warmup_stable_decay(number / settings.steps, warmup=settings.warmup, decay=settings.decay)
        else:
            factor = warmup_stable_decay(done, warmup=settings.warmup, decay=settings.decay)
        rate = settings.mask + (settings.mask_end - settings.mask) * done
        batch = self.sampler.batch(number, tokens=settings.batch_tokens)
        lesson = self.lessons.of(batch, step=number, rate=rate)
        learnt = self._backward(lesson, number)
        loss = learnt.loss
        norm = clip(self.module.parameters(), settings.clip)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise TrainingError(
                f"Step {number}: the loss is {loss} and the norm of the gradients {norm}. "
                "Use smaller train.learning_rate and train.embedding_rate, or a longer train.warmup."
            )
        self.optimizers.step(factor)
        if self.average is not None:
            self.average.update(number)
        position = Position(number, self.position.tokens + lesson.tokens, self.position.seconds, dict(self.sampler.taken))
        return Fact(
            position=position,
            done=done,
            loss=loss,
            accuracy=learnt.accuracy,
            factor=factor,
            depth=depth,
            mask=rate,
            norm=norm,
            tokens=lesson.tokens,
            predicted=lesson.words,
            pairs=learnt.pairs,
            views=learnt.views,
        )

    def _backward(self, lesson: Lesson, number: int) -> Learnt:
        """Gradients of everything that the lesson asks, added up."""
        self.optimizers.zero_grad()
        words = torch.zeros(3, device=self.module.device)
        for rows in micro_batches(np.arange(len(lesson.encoded)), lesson.encoded.lengths, max_tokens=self.settings.max_tokens):
            words += self._predict(lesson, rows, number)
        found = self._match(lesson.views, number) if lesson.views is not None else None
        loss, right, told = words.tolist()
        pairs = told / lesson.pairs if lesson.pairs else None
        return Learnt(loss, right / lesson.words, pairs, found)

    def _predict(self, lesson: Lesson, rows: Ints, number: int) -> Tensor:
        """Masked words and decisions of the sequences ``rows``: their part of the words' mean loss, right words, right decisions."""
        begin, end = lesson.encoded.starts[rows[0]], lesson.encoded.starts[rows[-1] + 1]
        wanted = np.flatnonzero(lesson.targets[begin:end] != IGNORED)
        goal = torch.from_numpy(lesson.targets[begin:end][wanted]).to(self.module.device)
        decides = torch.from_numpy(lesson.decisions[begin:end][wanted]).to(self.module.device)
        with autocast(self.module.device, self.precision):
            hidden = self._hidden(lesson.encoded, rows, number)
            logits = self.module.task_head(hidden[torch.from_numpy(wanted).to(hidden.device)])
        losses = F.cross_entropy(logits.float(), goal, reduction="none")
        words = losses.masked_fill(decides, 0.0).sum() / lesson.words
        torch.autograd.backward(words + losses.masked_fill(~decides, 0.0).sum() / max(1, lesson.pairs))
        hits = logits.detach().argmax(1) == goal
        return torch.stack([words.detach(), (hits & ~decides).sum(), (hits & decides).sum()])

    def _match(self, views: Encoded, number: int) -> float:
        """Gradients of the contrastive loss of all views at once; the share of them that found their like."""
        order = np.argsort(views.lengths, kind="stable")
        with autocast(self.module.device, self.precision):
            hidden = self._hidden(views, order, number)
        lengths = torch.from_numpy(views.lengths[order]).to(hidden.device)
        pooled = torch.segment_reduce(hidden.float(), "mean", lengths=lengths)
        vectors = F.normalize(pooled[torch.from_numpy(np.argsort(order)).to(hidden.device)], dim=1)
        first, second = vectors.chunk(2)
        likeness = first @ second.T / _TEMPERATURE
        goal = torch.arange(len(first), device=hidden.device)
        loss = (F.cross_entropy(likeness, goal) + F.cross_entropy(likeness.T, goal)) / 2
        torch.autograd.backward(_VIEWS_WEIGHT * loss)
        return float((likeness.detach().argmax(1) == goal).float().mean())

    def _hidden(self, encoded: Encoded, rows: Ints, number: int) -> Tensor:
        noise = Noise.of_step(self.settings.seed, number) if self.settings.dropout else None
        packed = to_tensors(pack(encoded, rows), self.module.device)
        with _first_layers(self.module.encoder, self.depth):
            hidden: Tensor = self.module.encoder(packed, noise=noise)
        return hidden

    def _flops(self, fact: Fact) -> float:
        """Operations of a step; attention is counted as if all sequences were as long as they may be."""
        config = replace(self.module.encoder.config, layers=fact.depth)
        return fact.tokens * token_flops(config, length=self.sampler.max_length, predicted=fact.predicted / fact.tokens)


@contextmanager
def _first_layers(encoder: Encoder, depth: int) -> Iterator[None]:
    """Only the first ``depth`` layers run within the block; the gradients of the others stay None, so optimizers leave them alone."""
    if encoder.config.shared and depth < encoder.config.layers:
        raise TrainingError("train.shallow runs fewer layers at first, and all layers of this module share their weights: set it to 0")
    whole = encoder.blocks
    encoder.blocks = nn.ModuleList(list(whole)[:depth])
    try:
        yield
    finally:
        encoder.blocks = whole
