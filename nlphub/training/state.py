"""Everything that a training needs to go on exactly where it stopped.

Batches come from (seed, epoch) and dropout from a hash of (seed, step, place), so there is no generator whose state could be lost: the
weights, the optimizer's moments and a few numbers are the whole state. They are published as one folder (the weights by
:meth:`nlphub.Module.write`, the rest by this file), so that a stop at any second leaves the last complete one.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from nlphub.errors import StoreError, WeightsError, brief
from nlphub.files import publish_json, sha256

_TENSORS, _FACTS = "training_state.safetensors", "training_state.json"
_MAX_FACTS = 1 << 22  # bytes; there are about 300, and 50 for each shard of a pretraining
_KINDS: dict[str, tuple[type, ...]] = {
    "step": (int,),
    "best_score": (float, int, type(None)),
    "best_step": (int,),
    "stale": (int,),
    "fingerprint": (str,),
    "backoffs": (int,),
    "first_loss": (float, type(None)),
}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a training has come.

    Attributes:
        step: optimizer steps done.
        best_score: the best evaluation so far, or ``None`` before the first.
        best_step: the step of it.
        stale: evaluations since then without improvement.
        fingerprint: what has to be equal for a resumed run to be the same run (settings, data, seed).
        backoffs: how often it went back to its best weights.
        first_loss: mean loss until the first evaluation, where going back is allowed.
    """

    step: int
    best_score: float | None
    best_step: int
    stale: int
    fingerprint: str
    backoffs: int = 0
    first_loss: float | None = None

    @classmethod
    def start(cls, fingerprint: str) -> "Progress":
        """The state before the first step."""
        return cls(step=0, best_score=None, best_step=0, stale=0, fingerprint=fingerprint)


def save_state(
    folder: Path, *, optimizer: torch.optim.Optimizer, progress: Progress, weights: Mapping[str, Tensor] = MappingProxyType({})
) -> None:
    """Write moments and progress into ``folder`` (a folder that is being published, see ``files.publish_folder``).

    Args:
        weights: further ones that the training needs, e.g. averages; a name has to have a ``/`` and not to begin with a digit.
    """
    extra = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    write_state(folder, {**dict(moments(optimizer)), **extra}, asdict(progress))


def load_state(
    folder: Path, *, optimizer: torch.optim.Optimizer, fingerprint: str, weights: Mapping[str, Tensor] = MappingProxyType({})
) -> Progress:
    """Put saved moments back into an optimizer over the same parameters, and further ``weights`` into those tensors.

    Raises:
        StoreError: there is no complete state in ``folder``, it is torn, or its bytes changed.
        WeightsError: it belongs to another run: other settings, data or initial weights.
    """
    facts, tensors = read_state(folder, _KINDS, fingerprint=fingerprint)
    with torch.no_grad():
        for name, tensor in weights.items():
            tensor.copy_(tensors.pop(name))
    restore_moments(tensors, optimizer)
    return Progress(**facts)


def write_state(folder: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors, and facts with the digest of their file, into a folder that is being published."""
    save_file(dict(tensors), folder / _TENSORS)
    (folder / _TENSORS).chmod(folder.stat().st_mode & 0o666)  # as readable as the folder; the library leaves 0600
    publish_json(folder / _FACTS, {**facts, "sha256": sha256(folder / _TENSORS)})


def read_state(folder: Path, kinds: Mapping[str, tuple[type, ...]], *, fingerprint: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What :func:`write_state` wrote.

    Args:
        folder: where it lies.
        kinds: the facts that have to be there, and their types; ``fingerprint`` is one of them.
        fingerprint: that it has to have.

    Raises:
        StoreError: there is no complete state in ``folder``, it is torn, or its bytes changed.
        WeightsError: it belongs to another run: other settings, data or initial weights.
    """
    facts = _read_facts(folder, kinds)
    if facts["fingerprint"] != fingerprint:
        raise WeightsError(
            f"{folder} was made with other settings or other data (fingerprint {facts['fingerprint'][:12]}, now {fingerprint[:12]}). "
            "Resume with the same recipe, or start anew with another run.folder or --overwrite."
        )
    return facts, load_file(folder / _TENSORS)


def moments(optimizer: torch.optim.Optimizer, *, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """The state of an optimizer as named tensors."""
    for index, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            yield f"{prefix}{index}/{name}", torch.as_tensor(value).detach().cpu().contiguous()


def restore_moments(tensors: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, *, prefix: str = "") -> None:
    """Put back what :func:`moments` gave; tensors without the prefix are left alone."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith(prefix):
            index, name = key.removeprefix(prefix).split("/", 1)
            state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _read_facts(folder: Path, kinds: Mapping[str, tuple[type, ...]]) -> dict[str, Any]:
    if not all((folder / name).is_file() for name in (_FACTS, _TENSORS)):
        raise StoreError(f"{folder} holds no training state to resume from ({_FACTS} and {_TENSORS} are both needed)")
    with (folder / _FACTS).open("rb") as stream:
        raw = stream.read(_MAX_FACTS + 1)
    try:
        facts = _parse(raw, kinds)
    except (ValueError, RecursionError) as wrong:
        why = f"it is torn or not of nlphub's making ({wrong})"
        raise StoreError(f"{folder / _FACTS} cannot be resumed from: {why}. Start anew with --overwrite or another run.folder.") from wrong
    promised, found = facts.pop("sha256"), sha256(folder / _TENSORS)
    if promised != found:
        raise StoreError(
            f"{folder / _TENSORS} has changed since it was written: sha256 {found}, expected {promised}. "
            "Start anew with --overwrite or another run.folder."
        )
    return facts


def _least(name: str) -> int:
    """The smallest value of a number: only scores, correlations among them, can be below 0."""
    return -1 if name == "best_score" else 0


def _parse(raw: bytes, kinds: Mapping[str, tuple[type, ...]]) -> dict[str, Any]:
    """What :func:`write_state` wrote; a ``ValueError`` says what is wrong with it."""
    if len(raw) > _MAX_FACTS:
        raise ValueError(f"longer than {_MAX_FACTS:,} bytes")
    facts = json.loads(raw)
    if not isinstance(facts, dict) or facts.keys() != {*kinds, "sha256"}:
        raise ValueError(f"its keys should be {', '.join(kinds)}, sha256")
    for name, value in facts.items():
        if type(value) not in kinds.get(name, (str,)) or (type(value) in (int, float) and not _least(name) <= value < math.inf):
            raise ValueError(f"{name} is {brief(value)}")
    return facts
