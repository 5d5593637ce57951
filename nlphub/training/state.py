"""Everything that a training needs to go on exactly where it stopped.

Batches come from (seed, epoch) and dropout from a hash of (seed, step, place), so there is no generator whose state could be lost: the
weights, the optimizer's moments and a few numbers are the whole state. They are published as one folder (the weights by
:meth:`nlphub.Module.write`, the rest by this file), so that a stop at any second leaves the last complete one.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from nlphub.errors import StoreError, WeightsError
from nlphub.files import sha256

_TENSORS, _FACTS = "training_state.safetensors", "training_state.json"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a training has come.

    Attributes:
        step: optimizer steps done.
        best_score: the best evaluation so far, or ``None`` before the first.
        best_step: the step of it.
        stale: evaluations since then without improvement.
        fingerprint: what has to be equal for a resumed run to be the same run (settings, data, seed).
    """

    step: int
    best_score: float | None
    best_step: int
    stale: int
    fingerprint: str

    @classmethod
    def start(cls, fingerprint: str) -> "Progress":
        """The state before the first step."""
        return cls(step=0, best_score=None, best_step=0, stale=0, fingerprint=fingerprint)


def save_state(folder: Path, *, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    """Write moments and progress into ``folder`` (a folder that is being published, see ``files.publish_folder``)."""
    save_file(dict(_moments(optimizer)), folder / _TENSORS)
    (folder / _TENSORS).chmod(0o644)  # the library leaves 0600
    facts = {**asdict(progress), "sha256": sha256(folder / _TENSORS)}
    (folder / _FACTS).write_text(json.dumps(facts, indent=2, sort_keys=True), encoding="utf-8")


def load_state(folder: Path, *, optimizer: torch.optim.Optimizer, fingerprint: str) -> Progress:
    """Put saved moments back into an optimizer over the same parameters.

    Raises:
        StoreError: there is no complete state in ``folder``, or its bytes changed.
        WeightsError: it belongs to another run: other settings, data or initial weights.
    """
    facts = _read_facts(folder)
    if facts.fingerprint != fingerprint:
        raise WeightsError(
            f"{folder} was made with other settings or other data (fingerprint {facts.fingerprint[:12]}, now {fingerprint[:12]}). "
            "Resume with the same recipe, or start anew with another run.folder or --overwrite."
        )
    _restore_moments(load_file(folder / _TENSORS), optimizer)
    return facts


def has_state(folder: Path) -> bool:
    """Whether ``folder`` holds a training state."""
    return (folder / _FACTS).is_file() and (folder / _TENSORS).is_file()


def _read_facts(folder: Path) -> Progress:
    if not has_state(folder):
        raise StoreError(f"{folder} holds no training state to resume from ({_FACTS} and {_TENSORS} are both needed)")
    facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
    promised, found = facts.pop("sha256"), sha256(folder / _TENSORS)
    if promised != found:
        raise StoreError(f"{folder / _TENSORS} has changed since it was written: sha256 {found}, expected {promised}")
    return Progress(**facts)


def _moments(optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    for index, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            yield f"{index}/{name}", torch.as_tensor(value).detach().cpu().contiguous()


def _restore_moments(tensors: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split("/", 1)
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
