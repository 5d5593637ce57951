"""A module on disk: ``model.safetensors``, ``config.json`` and the tokenizer's files in one folder.

Tensors are called ``encoder.*`` and ``heads.<task>.*``. Nothing that is read here is ever executed or unpickled. A fine-tuned module has
the head of its ``task``; a pretrained one may ship heads that were pretrained with its encoder, which config.json lists as ``heads``.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from nlphub import __version__
from nlphub.calibration import REFERENCES
from nlphub.checkpoints.compact import compact
from nlphub.checkpoints.gate import baidu_hint, fill_tensors
from nlphub.errors import InputError, WeightsError, brief
from nlphub.files import publish, publish_json
from nlphub.hub.cards import TASKS
from nlphub.nn.config import EncoderConfig
from nlphub.nn.encoder import Encoder
from nlphub.nn.forms import form_problems, kind_of
from nlphub.nn.heads import Head
from nlphub.text.tokenizers import Tokenizer

WEIGHTS, CONFIG = "model.safetensors", "config.json"

_WRITTEN = {WEIGHTS, CONFIG, REFERENCES, "README.md", "vocab.txt", "folds.tsv", "nlphub_tokenizer.json"}  # in a saved module's folder
_WRITTEN |= {"sentencepiece.model", "words.txt"}  # ... of the sub-word tokenizer
_WRITTEN |= {"training_state.json", "training_state.safetensors"}  # ... and in last/ of a run
_FOREIGN = (".pdparams", ".pdopt", ".pdiparams", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")
_MAX_CONFIG = 1 << 20  # bytes
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


def save_checkpoint(
    folder: Path,
    *,
    encoder: Encoder,
    head: Head | None,
    tokenizer: Tokenizer,
    config: Mapping[str, Any],
    pretrained: Sequence[Head] = (),
    form: str = "fp32",
) -> None:
    """Write a module into ``folder``, each file whole; a caller who wants the folder whole fills it inside ``files.publish_folder``.

    Args:
        config: further facts for config.json, ``architecture`` among them. The numbers of the encoder, the task, the heads, the
            tokenizer's digest and nlphub's version are written as they are, whatever it says.
        pretrained: further heads to ship, of other tasks than ``head``'s, which config.json lists as ``heads``.
        form: how the weights are stored, see :mod:`nlphub.checkpoints.compact`: ``fp32`` keeps every bit, ``fp16`` and ``int8`` do not.

    Raises:
        InputError: there is no such form.
        WeightsError: the weights cannot be stored in it.
    """
    tokenizer.save(folder)
    facts = {key: value for key, value in config.items() if key not in ("initial_seed", "heads", "head")}  # of other weights than these
    if head is not None and head.form:
        facts["head"] = head.form
    if pretrained:
        facts["heads"] = sorted(other.task for other in pretrained)
    facts |= {
        "encoder": encoder.config.to_dict(),
        "nlphub": __version__,
        "task": head.task if head else None,
        "tokenizer": {**config.get("tokenizer", {}), "digest": tokenizer.digest},
    }
    publish_json(folder / CONFIG, facts)
    save_weights(folder / WEIGHTS, tensors(encoder, head, *pretrained), form=form)


def save_weights(path: Path, weights: Mapping[str, Tensor], *, form: str = "fp32") -> None:
    """Publish a weights file; equal weights give equal bytes. See :func:`save_checkpoint`."""
    stored, metadata = compact(weights, form)  # with one key: the library writes several in random order
    with publish(path) as stream:
        stream.write(save(stored, metadata))


def require_own(folder: Path) -> None:
    """Refuse to replace a folder that holds something other than a saved module.

    Raises:
        InputError: it does.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    foreign = sorted({path.name for path in folder.iterdir()} - _WRITTEN) if folder.is_dir() else [folder.name]
    if foreign or not _is_saved_module(folder):
        what = f"it holds {', '.join(foreign[:5])}" if foreign else f"its {CONFIG} is another program's"
        raise InputError(f"{folder} is no saved module ({what}), so it is left alone; choose another folder")


def load_config(folder: Path) -> dict[str, Any]:
    """``config.json`` of a module folder, with checked ``architecture`` and ``encoder``.

    Raises:
        WeightsError: there is none, or it is not one of ours.
    """
    path = folder / CONFIG
    if not path.is_file():
        refuse_foreign(folder)
        raise WeightsError(f"{folder} is no module folder: it has no {CONFIG}")
    config = read_json(path)
    if "encoder" not in config or "architecture" not in config:
        raise WeightsError(f"{path} is not a config of nlphub: it needs 'architecture' and 'encoder'. Found: {_kind(config)}")
    if problems := list(_problems(config)):
        raise WeightsError("\n".join([f"{path} is not a config that nlphub wrote:", *(f"  - {problem}" for problem in problems)]))
    return config


def read_json(path: Path) -> dict[str, Any]:
    """A JSON table of bounded size.

    Raises:
        WeightsError: it is missing, too large, or no JSON table.
    """
    if not path.is_file():
        raise WeightsError(f"{path.parent} has no {path.name}")
    if path.stat().st_size > _MAX_CONFIG:
        raise WeightsError(f"{path} is larger than {_MAX_CONFIG:,} bytes: this is no config of a module")
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as broken:
        raise WeightsError(f"{path} is not valid JSON: {broken}") from broken
    if not isinstance(table, dict):
        raise WeightsError(f"{path} has to hold a JSON table. Found: {type(table).__name__}")
    return table


def has_weights(folder: Path) -> bool:
    """Whether trained weights lie in ``folder``; without any, its config.json must name the ``initial_seed`` that makes them.

    Raises:
        WeightsError: the weights are missing, or lie there in a format that is not read.
    """
    if (folder / WEIGHTS).is_file():
        return True
    refuse_foreign(folder)
    if type(load_config(folder).get("initial_seed")) is not int:
        raise WeightsError(f"{folder} is incomplete: {WEIGHTS} is missing. Copy or install it again.")
    return False


def load_weights(folder: Path, *, encoder: Encoder, head: Head | None = None, allow_other_heads: bool = False) -> None:
    """Fill encoder and head. They are untouched when anything does not fit.

    Args:
        folder: a module folder, or the path of its ``model.safetensors``.
        allow_other_heads: weights of heads for other tasks may be there and are ignored, as for a new task on a fine-tuned encoder, or
            beside one of several heads that were pretrained with it.

    Raises:
        WeightsError: the file is damaged, in another format, or for another network; missing and extra tensors are named.
    """
    path = folder / WEIGHTS if folder.is_dir() else folder
    if path.suffix in _FOREIGN or not path.is_file():
        refuse_foreign(path if path.is_file() else folder)
        raise WeightsError(f"There are no weights at {path}")
    own = (f"heads.{head.task}.",) if head is not None else ()
    fill_tensors(path, tensors(encoder, head), ignore=("heads.",) if allow_other_heads else (), strict=own)


def load_matching(folder: Path, config: Mapping[str, Any], *, encoder: Encoder, head: Head | None, labels: Sequence[str]) -> Head | None:
    """Fill the encoder, and the head where the folder holds it. Returns the head that was filled, or None.

    It does when the module that was saved has the same task, labels and kind of head, or when it ships the head of this task as
    pretrained: such heads answer with the vocabulary.

    Args:
        config: of the folder.
        labels: of ``head``.

    Raises:
        WeightsError: as :func:`load_weights`.
    """
    task = head.task if head is not None else None
    shipped = config.get("heads", [])
    kind = head.form.get("kind") if head is not None else None
    same = (task, list(labels), kind) == (config.get("task"), config.get("labels", []), kind_of(config)) or task in shipped
    held = head if same else None
    load_weights(folder, encoder=encoder, head=held, allow_other_heads=held is None or bool(shipped))
    return held


def check_tokenizer(config: Mapping[str, Any], tokenizer: Tokenizer) -> None:
    """Refuse a tokenizer other than the one that the weights were made with.

    Raises:
        WeightsError: the digests differ.
    """
    wanted = config.get("tokenizer", {}).get("digest")
    if wanted is not None and wanted != tokenizer.digest:
        raise WeightsError(
            f"These weights were made with the tokenizer {wanted[:12]}..., and this one is {tokenizer.digest[:12]}...: "
            "its ids would mean other characters. Use the tokenizer files that lie beside the weights."
        )


def tensors(encoder: Encoder, *heads: Head | None) -> dict[str, Tensor]:
    """Every weight under its name on disk, sharing memory with the networks. Heads may be None, and are of different tasks."""
    named = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    for head in heads:
        if head is not None:
            named |= {f"heads.{head.task}.{name}": tensor for name, tensor in head.state_dict().items()}
    return named


def weights_digest(encoder: Encoder, head: Head | None = None) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of all weights: equal digests mean bitwise equal modules."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors(encoder, head).items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _is_saved_module(folder: Path) -> bool:
    try:
        return bool(load_config(folder))
    except WeightsError:
        return False


def refuse_foreign(place: Path) -> None:
    """Say what to do with weights in another format, when ``place`` is or holds such a file."""
    files = [place] if place.is_file() else sorted(path for path in place.glob("*") if path.suffix in _FOREIGN)
    for path in files:
        if path.suffix not in _FOREIGN:
            continue
        if path.suffix.startswith(".pd"):
            raise WeightsError(
                f"{path} is a PaddlePaddle checkpoint, a pickle that can run code: it is never loaded as it is. Convert it, which runs "
                f"nothing: nlphub convert {path.name} --to native --out FOLDER. If this is ernie-tiny: {baidu_hint()}"
            )
        raise WeightsError(
            f"{path} is not a safetensors file; formats that can run code are never read as they are. If this is a folder of "
            f"transformers: nlphub convert {path.parent.name} --to native --out FOLDER, which runs nothing."
        )


def _problems(config: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the values that the rest of nlphub relies on."""
    if not isinstance(config["architecture"], str) or not _NAME.fullmatch(config["architecture"]):
        yield f"architecture: {brief(config['architecture'])} is no name of a module; see `nlphub list`"
    labels, tokenizer = config.get("labels", []), config.get("tokenizer", {})
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        yield f"labels: expected a list of names, found {brief(labels)}"
    heads = config.get("heads", [])
    if not isinstance(heads, list) or not all(isinstance(head, str) and head in TASKS for head in heads) or len({*heads}) < len(heads):
        yield f"heads: expected a list of different tasks, found {brief(heads)}"
    elif config.get("task") in heads:
        yield f"heads: {brief(config['task'])} is the task of this module already"
    if "head" in config:
        yield from form_problems(config["head"])
    if not isinstance(tokenizer, dict) or not isinstance(tokenizer.get("digest", ""), str):
        yield f"tokenizer: expected a table with the text 'digest', found {brief(tokenizer)}"
    for name, kind in (("task", str), ("initial_seed", int), ("max_length", int)):
        if type(config.get(name)) not in (kind, type(None)):
            yield f"{name}: expected {kind.__name__}, found {brief(config[name])}"
    if not isinstance(config["encoder"], dict):
        yield f"encoder: expected a table of numbers, found {brief(config['encoder'])}"
        return
    try:
        EncoderConfig.from_dict(config["encoder"])
    except InputError as wrong:
        yield from (f"encoder: {problem}" for problem in wrong.problems)


def _kind(config: Mapping[str, Any]) -> str:
    if "model_type" in config:
        return f"a Hugging Face config (model_type {config['model_type']!r}): nlphub convert FOLDER --to native --out OTHER"
    return ", ".join(sorted(map(str, config))[:8]) or "an empty object"
