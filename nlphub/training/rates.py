"""Which learning rate suits a module and its data: the range test."""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from nlphub.aligned import aligned
from nlphub.data.examples import Examples
from nlphub.data.read import load_splits
from nlphub.errors import InputError, TrainingError
from nlphub.module import Module
from nlphub.nn.forms import variant_of
from nlphub.recipe import Recipe, TrainSettings, load_recipe
from nlphub.tasks import task_of, trainable
from nlphub.training.adamw import AdamW
from nlphub.training.loop import Loop
from nlphub.training.modules import new_module
from nlphub.training.optim import parameter_groups, set_rates

_SMOOTHING = 0.9  # decay of the moving average of the losses
_WORSE = 4.0  # times the lowest loss, at which the test is over
_LEAST = 10  # steps that a curve needs
_SAFETY = 3.0  # by which the rate of the lowest loss is divided
_LINES, _WIDTH = 16, 40  # of the table


@dataclass(frozen=True, slots=True)
class RateCurve:
    """What :func:`find_learning_rate` found.

    Attributes:
        rates: of the steps, rising.
        losses: smoothed, at these rates.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]

    @property
    def lowest(self) -> float:
        """The rate at which the loss was lowest: just before it gets worse."""
        return self.rates[self.losses.index(min(self.losses))]

    @property
    def suggestion(self) -> float:
        """A third of that, with two digits: the highest rate of a schedule that warms up and falls, a little before training breaks. It
        tells the order of magnitude; :func:`nlphub.tune` narrows it down."""
        return float(f"{self.lowest / _SAFETY:.2g}")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {"suggestion": self.suggestion, "lowest": self.lowest, "rates": list(self.rates), "losses": list(self.losses)}

    def table(self) -> str:
        """Some of the steps as a text table, with the curve drawn beside them; ``<`` marks the lowest loss."""
        last = len(self.rates) - 1
        numbers = {round(line * last / (_LINES - 1)) for line in range(_LINES)} | {self.losses.index(min(self.losses))}
        rows = [(f"{self.rates[number]:.1e}", f"{self.losses[number]:.3f}", self._bar(number)) for number in sorted(numbers)]
        return aligned(("rate", "loss", ""), rows)

    def _bar(self, number: int) -> str:
        """Half the width is what was gained from the first step to the lowest loss; what is worse than the width is cut."""
        least = min(self.losses)
        gained = max(self.losses[0] - least, 1e-9)
        bar = "#" * min(_WIDTH, 1 + round((self.losses[number] - least) / gained * _WIDTH / 2))
        return f"{bar} <" if self.losses[number] == least else bar


def find_learning_rate(recipe: Recipe | str | Path, *, low: float = 1e-6, high: float = 0.1, steps: int = 100) -> RateCurve:
    """Train for a few steps at rates that rise from ``low`` to ``high``, as a recipe says but for the rate, and write nothing.

    The range test (Smith, 2017, arXiv:1506.01186). Neither dev nor test examples take part. The first weights, the batches and the
    dropout follow ``train.seed``: the same recipe gives the same curve.

    Args:
        recipe: from :func:`nlphub.load_recipe`, or what it takes.
        low, high: the first and the last rate; it ends early when the loss is four times the lowest one.
        steps: optimizer steps.

    Raises:
        InputError: the bounds are not ``0 < low < high``, fewer than 10 steps, or another ``train.method``.
        DataError: the data are not fit for training.
        TrainingError: the loss breaks before 10 steps; the message names the cure.
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    splits = load_splits(recipe.data.model_copy(update={"dev": None, "test": None}), seed=recipe.train.seed, nested=recipe.nested)
    return range_test(new_module(recipe, splits["train"]), splits["train"], recipe.train, low=low, high=high, steps=steps)


def range_test(module: Module, train: Any, settings: TrainSettings, *, low: float = 1e-6, high: float = 0.1, steps: int = 100) -> RateCurve:
    """The same for a module and examples at hand. It works on a copy: the module stays as it is, to the bit.

    Args:
        module: one without a head gets one in the copy.
        train: as :meth:`nlphub.Trainer.train` takes it.
        settings: of the training, whose rate, averages and back-off play no part.

    Raises:
        InputError, DataError, TrainingError: as :func:`find_learning_rate`.
    """
    if not 0 < low < high < math.inf or steps < _LEAST:
        raise InputError(f"low={low!r}, high={high!r}, steps={steps!r}: rates have to rise from above 0, in at least {_LEAST} steps")
    if settings.method != "finetune":
        raise InputError(f"The range test is of train.method=finetune, and here it is {settings.method}")
    examples = Examples.of(train)
    loop = _loop(module, examples, settings.model_copy(update={"epochs": steps, "average": 0.0, "backoff": 0}))
    rates, losses = [], []
    for rate, loss in _rising(loop, low=low, high=high, steps=steps):
        rates.append(rate)
        losses.append(loss)
    if len(rates) < _LEAST:
        raise TrainingError(f"The loss broke after {len(rates)} steps, near the rate {low:g}; give a smaller low (--low {low / 100:g})")
    return RateCurve(tuple(rates), tuple(losses))


def _loop(module: Module, examples: Examples, settings: TrainSettings) -> Loop:
    """A loop over a copy of the module, whose rates are factors: 1 for the head."""
    task = trainable(module.task or task_of(examples), variant_of(module.head) if module.head else module.variant)
    task.check(examples, labels=module.labels or None)
    own = copy.deepcopy(module, {id(module.tokenizer): module.tokenizer})
    if own.head is None:
        own.add_head(task.name, task.label_names(examples))
    groups = parameter_groups(own, learning_rate=1.0, weight_decay=settings.weight_decay, layer_decay=settings.layer_decay)
    return Loop(own, AdamW(groups), settings, examples)


def _rising(loop: Loop, *, low: float, high: float, steps: int) -> Iterator[tuple[float, float]]:
    """``(rate, smoothed loss)`` of each step, until the loss is much worse than it was."""
    average, best = 0.0, math.inf
    for number, batch in islice(loop.batches(after=0), steps):
        rate = low * (high / low) ** ((number - 1) / (steps - 1))
        set_rates(loop.optimizer, rate)
        loss, norm = loop.gradients(number, batch)
        average = _SMOOTHING * average + (1 - _SMOOTHING) * loss
        smooth = average / (1 - _SMOOTHING**number)
        best = min(best, smooth)
        if not (math.isfinite(loss) and math.isfinite(norm)) or smooth > _WORSE * best:
            return
        yield rate, smooth
        loop.optimizer.step()
