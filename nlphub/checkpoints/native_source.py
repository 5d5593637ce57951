"""A module of nlphub's as a :class:`Checkpoint`: its encoder, its heads, and a pooler that came with foreign weights."""

from pathlib import Path

import torch
from torch import Tensor

from nlphub.checkpoints import native
from nlphub.checkpoints.gate import names_in, read_tensors
from nlphub.checkpoints.huggingface import to_huggingface
from nlphub.checkpoints.pivot import POOLER, Checkpoint, Fate
from nlphub.checkpoints.relatives import RELATIVES
from nlphub.errors import WeightsError
from nlphub.hub import zoo
from nlphub.nn.config import EncoderConfig
from nlphub.nn.encoder import Encoder
from nlphub.nn.heads import Head
from nlphub.tasks import outputs_of

POOL = ("heads.seq-cls.pool.weight", "heads.seq-cls.pool.bias")

_HEADS = ("seq-cls", "token-cls", "mlm")


def read_module(folder: Path) -> Checkpoint:
    """A folder of nlphub's, in any form of its weights.

    Raises:
        WeightsError: it is damaged, has no trained weights, or has a head that other libraries have no network for.
    """
    config = native.load_config(folder)
    if not native.has_weights(folder):
        raise WeightsError(f"{folder} has no trained weights: there is nothing to convert")
    parts = zoo.load(config["architecture"])
    numbers, tokenizer = EncoderConfig.from_dict(config["encoder"]), parts.tokenizer(folder)
    native.check_tokenizer(config, tokenizer)
    task, labels = config.get("task"), tuple(config.get("labels", []))
    tasks = [name for name in (task, *config.get("heads", [])) if name]
    if config.get("head") or not set(tasks) <= set(_HEADS):
        kind = f" of the kind {config['head']['kind']!r}" if config.get("head") else ""
        raise WeightsError(
            f"{folder} has a head of task {task!r}{kind}, which no other library has a network for; "
            f"convertible are {', '.join(_HEADS)} with their usual heads"
        )
    outputs = tuple(outputs_of(task, labels)) if task and task != "mlm" else ()
    with torch.device("meta"):
        encoder = Encoder(numbers)
        names = {"mlm": ("",) * numbers.vocab}
        heads = [parts.heads[name].fitting(numbers, names.get(name, outputs), dropout=numbers.dropout) for name in tasks]
    tensors = _read(folder / native.WEIGHTS, encoder, heads)
    fates = tuple(Fate(name, name, "copied") for name in sorted(tensors))
    return Checkpoint(
        numbers.whole(),  # as the weights under their names are
        _family(config["architecture"], numbers),
        _under_their_names(tensors, encoder, heads),
        task=None if task == "mlm" else task,
        labels=outputs,
        tokenizer=tokenizer,
        fates=fates,
    )


def _family(architecture: str, numbers: EncoderConfig) -> str:
    """Whose checkpoint it is, or would be: our own modules are BERT's mathematics."""
    if architecture in RELATIVES:
        return architecture
    return "ernie" if architecture == "ernie" or numbers.task_types else "bert"


def _read(path: Path, encoder: Encoder, heads: list[Head]) -> dict[str, Tensor]:
    d = encoder.config.width
    expected = {name: tuple(tensor.shape) for name, tensor in native.tensors(encoder, *heads).items()}
    if POOL[0] in names_in(path):
        expected |= {POOL[0]: (d, d), POOL[1]: (d,)}
    return {name: tensor.float() for name, tensor in read_tensors(path, expected).items()}


def _under_their_names(tensors: dict[str, Tensor], encoder: Encoder, heads: list[Head]) -> dict[str, Tensor]:
    encoder.load_state_dict(_part(tensors, "encoder."), assign=True)
    found: dict[str, Tensor] = {}
    for head in heads:
        head.load_state_dict(_part(tensors, f"heads.{head.task}."), assign=True)
    for head_or_none in (None, *heads):
        found |= to_huggingface(encoder, head_or_none, prefix="ernie")
    pool = {name: tensors[own] for name, own in zip(POOLER, POOL, strict=True) if own in tensors}
    bare = {name.removeprefix("ernie."): tensor for name, tensor in found.items()}
    return {name: tensor for name, tensor in (bare | pool).items() if not name.startswith("cls.predictions.decoder.")}


def _part(tensors: dict[str, Tensor], start: str) -> dict[str, Tensor]:
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
