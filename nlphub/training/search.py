"""Where to look next among hyper-parameters: Optuna as the engine, and no file of Optuna's.

Each suggestion comes from a sampler of its own seed and from the trials before it, so a search that is interrupted and taken up again
makes the same trials. What was tried is kept by :mod:`nlphub.training.tuning` as plain JSON: Optuna's own storages are a database and
pickles.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nlphub.errors import require
from nlphub.labels import CLASSLESS
from nlphub.recipe import TrainSettings
from nlphub.recipe.space import Range

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_RANDOM = 8  # trials before the sampler trusts what it has seen
_JUDGED = 4  # finished trials before any is cut short
_PATIENCE = 2  # the first evaluation after which one is cut short


def default_space(train: TrainSettings, task: str = "seq-cls") -> dict[str, Range | tuple[Any, ...]]:
    """What is tried where a recipe has no ``tune`` section: epochs around the recipe's, and what matters most on small data."""
    space: dict[str, Range | tuple[Any, ...]] = {
        "learning_rate": Range(low=3e-5, high=1e-3, log=True),
        "batch_size": (8, 16, 32),
        "epochs": Range(low=max(1, train.epochs // 2), high=2 * train.epochs),
        "layer_decay": Range(low=0.7, high=1.0),
        "dropout": Range(low=0.0, high=0.2),
        "label_smoothing": (0.0, 0.1),
    }
    if task in CLASSLESS:
        del space["label_smoothing"]
    return space


class Search:
    """A tree-structured Parzen estimator (Bergstra et al., 2011), and the median rule: a trial whose best score so far is below the
    median of the others' at the same evaluation is cut short.

    Args:
        space: key of ``train`` -> values.
        seed: of the suggestions.

    Raises:
        MissingExtraError: Optuna is not installed.
    """

    def __init__(self, space: Mapping[str, Range | tuple[Any, ...]], *, seed: int) -> None:
        self._optuna = require("optuna", extra="tune", purpose="nlphub tune")
        self._optuna.logging.set_verbosity(self._optuna.logging.WARNING)
        self._space = {key: self._distribution(key, values) for key, values in space.items()}
        self._seed = seed
        self._known: list[Any] = []
        self._running: Any = None

    def suggest(self, number: int) -> dict[str, Any]:
        """Values for trial ``number``, which then runs until :meth:`take_in`.

        They come from a study that is made anew of all that is known: whether a trial was made now or is known from before makes no
        difference.
        """
        seed = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        study = self._optuna.create_study(
            direction="maximize",
            sampler=self._optuna.samplers.TPESampler(seed=seed, n_startup_trials=_RANDOM),
            pruner=self._optuna.pruners.MedianPruner(n_startup_trials=_JUDGED, n_warmup_steps=_PATIENCE),
        )
        study.add_trials(self._known)
        self._running = study.ask(self._space)
        return dict(self._running.params)

    def hopeless(self, scores: Sequence[float]) -> bool:
        """Whether the running trial can be cut short, after these evaluations; one that was not suggested never."""
        if self._running is None:
            return False
        self._running.report(scores[-1], len(scores))
        return bool(self._running.should_prune())

    def take_in(self, values: Mapping[str, Any], scores: Sequence[float], *, state: str) -> None:
        """Learn from a trial, the running one or one that is known from before.

        Args:
            values: of the space's keys; a trial without them counts for the median rule alone.
            scores: of its evaluations, the higher the better.
            state: ``complete``, ``pruned`` or ``failed``.
        """
        states = self._optuna.trial.TrialState
        trial = self._optuna.trial.create_trial(
            state={"complete": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}[state],
            value=max(scores) if state == "complete" else None,
            params=dict(values),
            distributions={key: self._space[key] for key in values},
            intermediate_values=dict(enumerate(scores, start=1)),
        )
        self._known.append(trial)
        self._running = None

    def _distribution(self, key: str, values: Range | tuple[Any, ...]) -> "BaseDistribution":
        kinds = self._optuna.distributions
        made: BaseDistribution
        if not isinstance(values, Range):
            made = kinds.CategoricalDistribution(values)
        elif TrainSettings.model_fields[key].annotation is int:
            made = kinds.IntDistribution(values.low, values.high, log=values.log)
        else:
            made = kinds.FloatDistribution(values.low, values.high, log=values.log)
        return made
