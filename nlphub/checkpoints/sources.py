"""Where a conversion begins, when it is not at home: a folder of Hugging Face's or of PaddlePaddle's, read into a :class:`Checkpoint`.

Nothing in any of them is executed or unpickled.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nlphub.checkpoints import native
from nlphub.checkpoints.foreign_tokenizer import find_tokenizer
from nlphub.checkpoints.gate import check_shapes, names_in, read_foreign
from nlphub.checkpoints.huggingface_config import config_from_huggingface
from nlphub.checkpoints.numbers import check_agreement
from nlphub.checkpoints.paddle import is_static, name_of, read_pdparams, to_tensor
from nlphub.checkpoints.pivot import BUFFER, Checkpoint, Named, bare, ours, settle
from nlphub.checkpoints.torch_file import read_torch
from nlphub.errors import InputError, WeightsError, brief
from nlphub.nn.config import EncoderConfig
from nlphub.nn.encoder import Encoder

BIN = "pytorch_model.bin"

_TASKS = {"ForSequenceClassification": "seq-cls", "ForTokenClassification": "token-cls"}
_STATIC_EPS, _PADDLE_EPS = 1e-5, 1e-12


def read_huggingface(folder: Path, *, task: str | None = None) -> Checkpoint:
    """A folder of ``transformers``: BERT, ERNIE, ALBERT or ELECTRA, from model.safetensors or else from pytorch_model.bin.

    Args:
        task: of the classifier, where config.json does not name its class.

    Raises:
        WeightsError: a file is missing, damaged or refused, or holds a key that nobody can explain.
    """
    facts = native.read_json(folder / native.CONFIG)
    safe = folder / native.WEIGHTS
    if not safe.is_file() and not (folder / BIN).is_file():
        raise WeightsError(f"There is neither {native.WEIGHTS} nor {BIN} in {folder}; weights in several files are not read")
    path = safe if safe.is_file() else folder / BIN
    if safe.is_file():
        state = read_foreign(safe, skip=BUFFER)
        state |= {name: torch.empty(0) for name in names_in(safe, buffers=BUFFER) - state.keys()}
    else:
        state = read_torch(path)
    family = str(facts.get("model_type"))
    found = {bare(name, family): _named(name, tensor) for name, tensor in state.items()}
    return _checkpoint(folder, path, facts, found, task)


def read_paddle(path: Path, *, task: str | None = None, numbers: Mapping[str, Any] | None = None) -> Checkpoint:
    """A ``.pdparams`` file, or a folder with one, of PaddleNLP's ERNIE or BERT.

    Args:
        task: of the classifier, where no config names its class.
        numbers: as config.json has them, for a file without one: shapes do not tell heads, activation and eps.

    Raises:
        InputError: there is no config.json beside the file and no ``numbers``.
        WeightsError: as :func:`read_huggingface`.
    """
    file = _pdparams(path)
    arrays = read_pdparams(file)
    found: dict[str, Named] = {}
    for theirs, array in arrays.items():
        name, turned = name_of(theirs) or (theirs, False)
        try:
            tensor = to_tensor(array, turned=turned)
        except ValueError as wrong:
            raise WeightsError(f"{file}: {theirs[:80]!r} is no weight: {wrong}") from wrong
        if name in found:
            raise WeightsError(f"{file}: {theirs} and {found[name].source} are the same weight")
        found[name] = Named(theirs, tensor, "transposed" if turned else "copied")
    static = is_static(arrays)
    return _checkpoint(file.parent, file, paddle_facts(file.parent, numbers, static=static), found, task)


def paddle_facts(folder: Path, numbers: Mapping[str, Any] | None, *, static: bool) -> dict[str, Any]:
    """PaddleNLP's config under Hugging Face's names: config.json, the older model_config.json, or what the caller gives.

    Where no LayerNorm eps is written, it is 1e-5 for a static graph (as trained) and 1e-12 for PaddleNLP's own files (as it computes).
    """
    old = folder / "model_config.json"
    if (folder / native.CONFIG).is_file() or old.is_file():
        path = folder / native.CONFIG if (folder / native.CONFIG).is_file() else old
        facts = _flat(native.read_json(path))
        check_agreement(path, facts, numbers)
    elif numbers is not None:
        facts = {}
    else:
        raise InputError(
            f"There is no config.json beside the weights in {folder}, and shapes do not tell heads and activation: "
            "name a checkpoint of the same numbers (--numbers ernie_3_0_medium), or a config.json"
        )
    written = {"model_type": "ernie", "layer_norm_eps": _STATIC_EPS if static else _PADDLE_EPS}
    usual = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
    return {**usual, **written, **facts, **(numbers or {})}


def _checkpoint(folder: Path, path: Path, facts: Mapping[str, Any], found: dict[str, Named], task: str | None) -> Checkpoint:
    """What foreign weights and their config make together."""
    task = _task(facts, found, task, path)
    tensors, fates = settle(found, place=str(path), task=task)
    config = config_from_huggingface(facts, tensors)
    _check(path, config, tensors, task)
    family = str(facts["model_type"])
    tokenizer, notes = find_tokenizer(folder, family=family, config=config)
    labels = _labels(facts, tensors, task)
    return Checkpoint(config, family, tensors, task=task, labels=labels, tokenizer=tokenizer, fates=fates, notes=notes)


def _named(name: str, tensor: Tensor) -> Named:
    if tensor.is_floating_point():
        return Named(name, tensor.float(), "copied" if tensor.dtype == torch.float32 else f"widened from {str(tensor.dtype)[6:]}")
    if not BUFFER.search(name):
        raise WeightsError(f"{name[:80]!r} holds {tensor.dtype}, not floating-point numbers")
    return Named(name, tensor)


def _task(facts: Mapping[str, Any], found: Mapping[str, Named], given: str | None, path: Path) -> str | None:
    """The task of the head: as config.json names its class, or as the caller says."""
    if given is not None and given not in _TASKS.values():
        raise InputError(f"task={brief(given)} is none that a checkpoint of others can have; there are {', '.join(_TASKS.values())}")
    listed = facts.get("architectures") or [facts.get("init_class") or ""]
    name = str(listed[0]) if isinstance(listed, list) and listed else ""
    written = next((task for ending, task in _TASKS.items() if name.endswith(ending)), None)
    if "classifier.weight" not in found:
        return None
    if given is None and written is None:
        raise InputError(
            f"{path} has a classifier, and its config does not say of what ({name or 'no class is named'}): "
            f"say --task {' or --task '.join(_TASKS.values())}"
        )
    return given or written


def _labels(facts: Mapping[str, Any], tensors: Mapping[str, Tensor], task: str | None) -> tuple[str, ...]:
    """Names of the outputs; LABEL_0, LABEL_1, ... where config.json has none."""
    if task is None:
        return ()
    count, names = len(tensors["classifier.weight"]), facts.get("id2label")
    usual = {str(number): f"LABEL_{number}" for number in range(count)}
    fits = isinstance(names, dict) and set(names) == set(usual) and all(isinstance(name, str) for name in names.values())
    given: Mapping[str, str] = names if fits and isinstance(names, dict) else usual
    return tuple(given[str(number)] for number in range(count))


def _check(path: Path, config: EncoderConfig, tensors: Mapping[str, Tensor], task: str | None) -> None:
    """Numbers and weights have to describe one encoder; heads have their shapes by its width."""
    with torch.device("meta"):  # no memory before the file has shown that it holds as much as its config says
        expected = {name: tuple(tensor.shape) for name, tensor in native.tensors(Encoder(config)).items()}
    found = {name: tuple(tensor.shape) for name, tensor in ours(tensors, task=task).items()}
    check_shapes(path, found, expected | _of_heads(config, len(_outputs(tensors)), found))


def _of_heads(config: EncoderConfig, outputs: int, found: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """What has to be there of each head of which something is."""
    d, v, n = config.width, config.vocab, outputs
    pool = {"pool.weight": (d, d), "pool.bias": (d,)}
    classifier = {"classifier.weight": (n, d), "classifier.bias": (n,)}
    e = config.embedded
    words = {"transform.weight": (e, d), "transform.bias": (e,), "norm.weight": (e,), "norm.bias": (e,), "bias": (v,)}
    whole: dict[str, dict[str, tuple[int, ...]]] = {"seq-cls": pool | (classifier if n else {}), "token-cls": classifier, "mlm": words}
    there = {name.split(".")[1] for name in found if name.startswith("heads.")}
    return {f"heads.{task}.{name}": shape for task in there for name, shape in whole[task].items()}


def _outputs(tensors: Mapping[str, Tensor]) -> Tensor:
    return tensors.get("classifier.weight", torch.empty(0))


def _pdparams(path: Path) -> Path:
    if path.is_file():
        return path
    files = sorted(path.glob("*.pdparams"))
    if len(files) != 1:
        listed = ", ".join(file.name for file in files[:4])
        raise InputError(f"{path} has {len(files)} files *.pdparams ({listed}): name the one to convert")
    return files[0]


def _flat(facts: Mapping[str, Any]) -> dict[str, Any]:
    """PaddleNLP's model_config.json before 2.5: the encoder's numbers lie in ``init_args`` of the head's."""
    inner = facts.get("init_args")
    first = _flat(inner[0]) if isinstance(inner, (list, tuple)) and inner and isinstance(inner[0], dict) else {}
    return {**first, **{name: value for name, value in facts.items() if name != "init_args"}}
