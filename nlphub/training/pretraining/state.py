"""A pretraining on disk, whole enough to go on exactly: weights, moments, moving average, and what was read so far."""

from dataclasses import asdict
from pathlib import Path

import torch

from nlphub.checkpoints import native
from nlphub.errors import StoreError, brief
from nlphub.files import publish_folder
from nlphub.module import Module
from nlphub.training.pretraining.loop import Position, Pretraining
from nlphub.training.state import moments, read_state, restore_moments, write_state

_KINDS: dict[str, tuple[type, ...]] = {"step": (int,), "tokens": (int,), "seconds": (float,), "taken": (dict,), "fingerprint": (str,)}


def save(folder: Path, training: Pretraining, *, fingerprint: str) -> None:
    """Publish ``folder`` whole: a module folder with the latest weights, and the training state beside them."""
    tensors = dict(pair for name, optimizer in training.optimizers.all.items() for pair in moments(optimizer, prefix=f"{name}/"))
    if training.average is not None:
        tensors |= {f"average/{name}": tensor.cpu() for name, tensor in training.average.averaged.items()}
    with publish_folder(folder) as temporary:
        save_module(temporary, training.module)
        write_state(temporary, tensors, {**asdict(training.position), "fingerprint": fingerprint})


def load(folder: Path, training: Pretraining, *, fingerprint: str) -> None:
    """Put a saved state back into a training of the same recipe, its sampler included.

    Raises:
        StoreError: there is no complete state, or its bytes changed.
        WeightsError: it belongs to other settings, text or initial weights.
    """
    facts, tensors = read_state(folder, _KINDS, fingerprint=fingerprint)
    del facts["fingerprint"]
    if wrong := [name for name, count in facts["taken"].items() if type(count) is not int or count < 0]:
        raise StoreError(f"{folder} cannot be resumed from: it took {brief(facts['taken'][wrong[0]])} sequences of {wrong[0]}")
    module = training.module
    native.load_weights(folder, encoder=module.encoder, head=module.task_head)
    for name, optimizer in training.optimizers.all.items():
        restore_moments(tensors, optimizer, prefix=f"{name}/")
    if training.average is not None:
        with torch.no_grad():
            for name, tensor in training.average.averaged.items():
                tensor.copy_(tensors[f"average/{name}"])
    training.position = Position(**facts)
    training.sampler.taken = dict(training.position.taken)


def save_module(folder: Path, module: Module) -> None:
    """Write a pretrained module into an existing folder: encoder, and the masked-LM head beside it, of no task yet."""
    config = {key: value for key, value in module.config.items() if key not in ("labels", "calibration")}
    native.save_checkpoint(
        folder, encoder=module.encoder, head=None, pretrained=(module.task_head,), tokenizer=module.tokenizer, config=config
    )
