"""The Trainer: consumes the facts of the training loop (log, checkpoints, progress bar) and hands back the best weights."""

import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from nlphub.data.examples import Examples
from nlphub.errors import InputError
from nlphub.labels import named, score_name
from nlphub.module import Module
from nlphub.nn.forms import variant_of
from nlphub.recipe import TrainSettings
from nlphub.tasks import task_of, trainable
from nlphub.training.adamw import AdamW
from nlphub.training.bar import with_bar
from nlphub.training.device.choose import loop_for, require_gpu
from nlphub.training.device.loop import DeviceLoop
from nlphub.training.distillation.teaching import Teaching
from nlphub.training.facts import Step, describe
from nlphub.training.few.choose import Choice, choose
from nlphub.training.few.loop import FewLoop, check_few
from nlphub.training.keepers import Keeper, MemoryKeeper, RunKeeper
from nlphub.training.loop import Loop
from nlphub.training.memory import freed_memory_kept
from nlphub.training.optim import join, parameter_groups
from nlphub.training.state import Progress

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Report:
    """What a training came to.

    Attributes:
        metrics: scores of the kept weights on the dev set, or ``None`` without one: of :mod:`nlphub.evaluation.metrics` for seq-cls, of
            :mod:`nlphub.evaluation.spans` for token-cls.
        steps: number of the last optimizer step; 0 when a resumed run had nothing left to do.
        seconds: duration of this call.
        examples_per_second: training examples seen by this call, per second.
        choice: what ``method: auto`` chose, and why; ``None`` where a method was given.
    """

    metrics: Any
    steps: int
    seconds: float
    examples_per_second: float
    choice: Choice | None = None


class Trainer:
    """Fine-tunes a module.

    Args:
        module: the module; one without a head gets its head from the first data it sees: seq-cls for labelled texts and pairs,
            token-cls for texts with spans.
        optimizer: a ``torch.optim`` optimizer over ``module.parameters()``. Its rates then stay as they are, unless ``settings`` ask
            for a schedule. Without one: AdamW with decay groups from ``settings``.
        settings: epochs, batch size, rates, ... (:class:`nlphub.recipe.TrainSettings`).
        checkpoint_dir: folder for ``best/``, ``last/`` and ``metrics.jsonl``; without one the best weights are kept in memory.
        use_gpu: move the module to the GPU first, whatever ``settings.device`` says.
        progress: show a progress bar when standard error is a terminal.
        teaching: a teacher that the module learns from besides the labels, see :mod:`nlphub.training.distillation`.

    Raises:
        InputError: a GPU is asked for, and there is none.
    """

    def __init__(
        self,
        module: Module,
        optimizer: torch.optim.Optimizer | None = None,
        *,
        settings: TrainSettings | None = None,
        checkpoint_dir: str | Path | None = None,
        use_gpu: bool = False,
        progress: bool = True,
        teaching: Teaching | None = None,
    ) -> None:
        as_given = TrainSettings(schedule="constant", warmup=0.0) if optimizer else TrainSettings()
        self.settings = settings or as_given
        on_gpu = use_gpu or self.settings.device == "cuda"
        if on_gpu:
            require_gpu("use_gpu=True" if use_gpu else "train.device=cuda")
        self.module = module.to("cuda") if on_gpu else module
        self.optimizer = optimizer
        self.keeper: Keeper = RunKeeper(Path(checkpoint_dir)) if checkpoint_dir else MemoryKeeper()
        self.progress, self.teaching = progress, teaching
        self.choice: Choice | None = None

    def finetune_and_eval(self, train_dataset: Any, eval_dataset: Any = None) -> Report:
        """PaddleHub's name for :meth:`train` with an evaluation set."""
        return self.train(train_dataset, eval_dataset=eval_dataset)

    def train(
        self,
        train_dataset: Any,
        epochs: int | None = None,
        batch_size: int | None = None,
        num_workers: int | None = None,
        eval_dataset: Any = None,
        log_interval: int | None = None,
        save_interval: int | None = None,
        *,
        resume: bool = False,
    ) -> Report:
        """Train, keep the best weights on ``eval_dataset`` (the last ones without it), and put them into the module.

        Args:
            train_dataset: :class:`~nlphub.Examples`, or a list of ``(text, label)`` tuples, of dictionaries with text, label and perhaps
                pair, or text and spans, or of :class:`~nlphub.Example`.
            epochs: overrides the settings for this call.
            batch_size: overrides the settings for this call.
            eval_dataset: the dev set.
            num_workers, log_interval, save_interval: PaddleHub's, accepted and ignored: nothing is loaded by workers, every step is logged,
                every evaluation is saved.
            resume: go on from ``last/`` of ``checkpoint_dir`` exactly as if there had been no interruption. Without it an earlier
                training in that folder is replaced.

        Raises:
            InputError: ``epochs`` or ``batch_size`` are no positive whole numbers, ``metric`` is no score of the task, options do not fit
                together, or ``checkpoint_dir`` holds something else.
            TrainingError: loss or gradients are not finite.
            DataError: empty texts, missing labels or spans, labels that training never saw, one class only; all at once.
            StoreError, WeightsError: ``resume`` without a fitting checkpoint.
        """
        _warn_ignored(num_workers=num_workers, log_interval=log_interval, save_interval=save_interval)
        settings = _changed(self.settings, epochs=epochs, batch_size=batch_size)
        train, dev = self._examples(train_dataset), self._examples(eval_dataset) if eval_dataset is not None else None
        started, seen, last = time.perf_counter(), 0, None
        loop = self._loop(settings, train, dev)
        for last in with_bar(self._steps(loop, dev, resume=resume), describe, shown=self.progress):
            self.keeper.log(last.as_dict())
            seen += last.examples
            if last.improved:
                self.keeper.keep_best(self.module)
            if last.evaluated:
                self.keeper.keep_last(self.module, self._optimizer(), last.progress, loop.weights)
        return self._finish(last, dev, seconds=time.perf_counter() - started, seen=seen)

    def steps(self, train_dataset: Any, eval_dataset: Any = None, *, resume: bool = False) -> Iterator[Step]:
        """The loop: one fact for each optimizer step, evaluations and early stopping included. Printing and saving are the caller's.

        After an evaluation the module has the weights that were evaluated, until the next step is asked for. In between, the weight decay
        of words that no training text has may not have been carried out yet; that happens at the next evaluation, or when this is closed.
        """
        train, dev = self._examples(train_dataset), self._examples(eval_dataset) if eval_dataset is not None else None
        yield from self._steps(self._loop(self.settings, train, dev), dev, resume=resume)

    def _loop(self, settings: TrainSettings, train: Examples, dev: Examples | None) -> Loop | FewLoop:
        task = trainable(self.module.task or task_of(train), variant_of(self.module.head) if self.module.head else self.module.variant)
        score_name(settings.metric, task.name)
        task.check(train, dev, labels=self.module.labels or None)
        labels, self.choice = self.module.labels or task.label_names(train), None
        if settings.method != "finetune":
            if self.teaching is not None:
                raise InputError(f"a teacher is learnt from by steps, and method {settings.method} is none of them: set method=finetune")
            check_few(settings, train, task=task.name)
        if settings.method == "auto":
            self.choice = choose(self.module, settings, train, labels=labels, fit=_train)
            settings = settings.model_copy(update={"method": self.choice.method})
        if settings.method != "finetune":
            return FewLoop(self.module, self._optimizer, settings, train, dev, labels=labels)
        self._fit_head(task.name, labels)
        return loop_for(self.module, self._optimizer(), settings, train, dev, teaching=self.teaching)

    def _steps(self, loop: Loop | FewLoop, dev: Examples | None, *, resume: bool) -> Iterator[Step]:
        with freed_memory_kept(self.module.device):
            facts = self._taken(loop, dev, resume=resume)
            yield from loop.told(facts) if isinstance(loop, DeviceLoop) else facts

    def _taken(self, loop: Loop | FewLoop, dev: Examples | None, *, resume: bool) -> Iterator[Step]:
        progress, settings = self._begin(loop, resume=resume), loop.settings
        try:
            for number, batch in loop.batches(after=progress.step):
                if settings.patience is not None and progress.stale >= settings.patience:
                    log.info("stopped before step %d: no better score in %d evaluations", number, progress.stale)
                    return
                fact = loop.step(number, batch, progress)
                self.module.trained = True
                if fact.evaluated:
                    loop.show_evaluated()
                    fact = loop.settle(self._judge(fact, dev), fact.progress)
                progress = fact.progress
                yield fact
        finally:
            loop.catch_up()

    def evaluate(self, eval_dataset: Any) -> Any:
        """Scores of the module as it is now on labelled data: :class:`~nlphub.evaluation.metrics.ClassificationMetrics` of seq-cls,
        :class:`~nlphub.evaluation.spans.SpanMetrics` of token-cls.

        Raises:
            DataError: labels or spans are missing, or are none of the module's.
        """
        task, examples = trainable(self.module.task_head.task), self._examples(eval_dataset)
        task.check_judged(examples, self.module.labels)
        return task.judge(examples, self.module.predict(task.questions(examples), top_k=1), self.module.labels)

    def predict(self, texts: Sequence[Any]) -> list[Any]:
        """The same as ``module.predict``."""
        return self.module.predict(texts)

    def _examples(self, data: Any) -> Examples:
        """Examples from what callers have; numbers become names where the module was given a ``label_map``."""
        examples = Examples.of(data)
        if not self.module.numbered or any(example.label is None for example in examples):
            return examples
        names = named(examples.labels, self.module.labels)
        return Examples([replace(example, label=name) for example, name in zip(examples, names, strict=True)], source=examples.source)

    def _fit_head(self, task: str, labels: Sequence[str]) -> None:
        if self.module.head is None or not self.module.head.by_steps:  # prototypes: fine-tuning makes the usual head
            self.module.add_head(task, labels)
        if self.optimizer is not None:
            join(self.optimizer, self.module.parameters())

    def _optimizer(self) -> torch.optim.Optimizer:
        if self.optimizer is None:
            groups = parameter_groups(
                self.module,
                learning_rate=self.settings.learning_rate,
                weight_decay=self.settings.weight_decay,
                layer_decay=self.settings.layer_decay,
            )
            self.optimizer = AdamW(groups)
        return self.optimizer

    def _begin(self, loop: Loop | FewLoop, *, resume: bool) -> Progress:
        if not resume:
            self.keeper.begin()
            return Progress.start(loop.fingerprint)
        if not isinstance(self.keeper, RunKeeper):
            raise InputError("resume=True needs a checkpoint_dir to resume from")
        progress = self.keeper.resume(self.module, self._optimizer(), fingerprint=loop.fingerprint, weights=loop.weights)
        loop.resumed(progress)
        return progress

    def _judge(self, fact: Step, dev: Examples | None) -> Step:
        """Without a dev set every evaluation point counts as the best so far: the last weights are kept."""
        if dev is None:
            return replace(fact, improved=True, progress=replace(fact.progress, best_step=fact.step))
        metrics, before = self.evaluate(dev), fact.progress
        score = metrics.score(score_name(self.settings.metric, str(self.module.task)))
        improved = before.best_score is None or score > before.best_score
        best = {"best_score": score, "best_step": fact.step, "stale": 0} if improved else {"stale": before.stale + 1}
        return replace(fact, evaluation=metrics, score=score, improved=improved, progress=replace(before, **best))

    def _finish(self, last: Step | None, dev: Any, *, seconds: float, seen: int) -> Report:
        if last is None:
            log.info("nothing was left to train: the run had ended")
        self.keeper.restore_best(self.module)
        metrics = self.evaluate(dev) if dev is not None else None
        return Report(metrics, steps=last.step if last else 0, seconds=seconds, examples_per_second=seen / seconds, choice=self.choice)


def _train(module: Module, settings: TrainSettings, train: Examples) -> Report:
    return Trainer(module, settings=settings, progress=False).train(train)


def _changed(settings: TrainSettings, **changes: int | None) -> TrainSettings:
    """The settings with those changes that are given."""
    values = {name: value for name, value in changes.items() if value is not None}
    if problems := [f"{name}={value!r} must be a whole number of at least 1" for name, value in values.items() if not _is_count(value)]:
        raise InputError("These settings cannot be:", problems)
    return settings.model_copy(update=values)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _warn_ignored(**given: int | None) -> None:
    if names := [name for name, value in given.items() if value is not None]:
        warnings.warn(f"{', '.join(names)}: accepted for PaddleHub's sake and ignored", DeprecationWarning, stacklevel=3)
