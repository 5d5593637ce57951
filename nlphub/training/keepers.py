"""Where a training keeps its best and its last weights: in memory, or in the folder of a run."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from nlphub.checkpoints import native
from nlphub.files import publish_folder, recover_folder
from nlphub.module import Module
from nlphub.training.metrics_log import MetricsLog
from nlphub.training.state import Progress, load_state, save_state

log = logging.getLogger(__name__)


class Keeper(Protocol):
    """What the Trainer asks of the place that keeps weights."""

    def begin(self) -> None:
        """Make ready for a new training."""

    def log(self, fact: dict[str, object]) -> None:
        """Keep one line of measurements."""

    def keep_best(self, module: Module) -> None:
        """Keep the weights of an evaluation that was better than all before."""

    def keep_last(self, module: Module, optimizer: torch.optim.Optimizer, progress: Progress, weights: Mapping[str, Tensor]) -> None:
        """Keep all that is needed to go on from here; ``weights`` are further ones that the options of a training have."""

    def restore_best(self, module: Module) -> None:
        """Put the best weights back into the module."""


class MemoryKeeper:
    """Keeps the best weights in memory; nothing is written."""

    def __init__(self) -> None:
        self._best: dict[str, Tensor] = {}

    def begin(self) -> None:
        """There is nothing to prepare."""

    def log(self, fact: dict[str, object]) -> None:
        """Measurements are not kept."""

    def keep_best(self, module: Module) -> None:
        """Copy the weights."""
        self._best = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}

    def keep_last(self, module: Module, optimizer: torch.optim.Optimizer, progress: Progress, weights: Mapping[str, Tensor]) -> None:
        """The module itself holds the last weights."""

    def restore_best(self, module: Module) -> None:
        """Copy the best weights back."""
        module.load_state_dict(self._best)


class RunKeeper:
    """Keeps ``best/`` (a module folder), ``last/`` (the same with the training state) and ``metrics.jsonl`` in the folder of a run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._metrics = MetricsLog(folder / "metrics.jsonl")

    def begin(self) -> None:
        """Forget the measurements of an earlier training; its weights are replaced by the first evaluation.

        Raises:
            InputError: ``best/`` or ``last/`` hold something other than a module, which would be lost.
        """
        for name in ("best", "last"):
            native.require_own(self.folder / name)
        self._metrics.begin()

    def log(self, fact: dict[str, object]) -> None:
        """Append one line to ``metrics.jsonl``; a line torn by a crash is dropped by :meth:`resume`."""
        self._metrics.append(fact)

    def keep_best(self, module: Module) -> None:
        """Publish ``best/``."""
        module.save(self.folder / "best")

    def keep_last(self, module: Module, optimizer: torch.optim.Optimizer, progress: Progress, weights: Mapping[str, Tensor]) -> None:
        """Publish ``last/``."""
        with publish_folder(self.folder / "last") as temporary:
            module.write(temporary)
            save_state(temporary, optimizer=optimizer, progress=progress, weights=weights)

    def restore_best(self, module: Module) -> None:
        """Load the weights of ``best/``."""
        module.load_weights(self.folder / "best")

    def resume(self, module: Module, optimizer: torch.optim.Optimizer, *, fingerprint: str, weights: Mapping[str, Tensor]) -> Progress:
        """Load ``last/``, further ``weights`` into those tensors, and cut ``metrics.jsonl`` back to its step.

        Without ``last/`` the training begins.

        Raises:
            StoreError: there is no complete state, or its bytes changed.
            WeightsError: the state belongs to other settings or other data.
        """
        for name in ("best", "last"):
            recover_folder(self.folder / name)
        if not (self.folder / "last").exists():
            log.info("%s was stopped before its first checkpoint: it starts from the beginning", self.folder)
            self.begin()
            return Progress.start(fingerprint)
        progress = load_state(self.folder / "last", optimizer=optimizer, fingerprint=fingerprint, weights=weights)
        module.load_weights(self.folder / "last")
        self._metrics.cut_back(progress.step)
        return progress
