"""Weights of Hugging Face's ``BertModel`` and ``ErnieModel`` families to ours and back, without loss.

Only names and layouts change: three projections become one ``qkv``, and heads that were pruned come back as zeros. With
``prefix="bert"`` ERNIE's constant task type is folded into the token types, so that any ``transformers`` opens the result as a plain BERT.
Whole folders are read and written by :func:`load_folder` and :func:`save_folder`::

    module = hub.Module(name="ernie_tiny", task="mlm")
    huggingface.save_folder(folder, encoder=module.encoder, head=module.head, tokenizer=module.tokenizer)
    transformers.BertForMaskedLM.from_pretrained(folder), transformers.AutoTokenizer.from_pretrained(folder)
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F

from nlphub import __version__
from nlphub.checkpoints import huggingface_tokenizer, native
from nlphub.checkpoints.gate import check_shapes, read_foreign
from nlphub.checkpoints.huggingface_config import KINDS, config_from_huggingface, config_to_huggingface, family_of
from nlphub.checkpoints.relatives import RELATIVES
from nlphub.errors import InputError, WeightsError
from nlphub.files import publish, publish_folder, publish_json
from nlphub.nn.encoder import Encoder
from nlphub.nn.heads import Head
from nlphub.text.characters import CharacterTokenizer

_EMBEDDINGS = {
    "word.weight": "word_embeddings.weight",
    "position.weight": "position_embeddings.weight",
    "token_type.weight": "token_type_embeddings.weight",
    "task_type.weight": "task_type_embeddings.weight",
    "norm.weight": "LayerNorm.weight",
    "norm.bias": "LayerNorm.bias",
    "project.weight": "project.weight",  # of narrow embeddings, see nlphub.checkpoints.relatives
    "project.bias": "project.bias",
}
_BLOCK = {
    "out": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "norm2": "output.LayerNorm",
}
_HEADS = {
    "seq-cls": {
        "pool.weight": "{prefix}.pooler.dense.weight",
        "pool.bias": "{prefix}.pooler.dense.bias",
        "classifier.weight": "classifier.weight",
        "classifier.bias": "classifier.bias",
    },
    "token-cls": {"classifier.weight": "classifier.weight", "classifier.bias": "classifier.bias"},
    "mlm": {
        "transform.weight": "cls.predictions.transform.dense.weight",
        "transform.bias": "cls.predictions.transform.dense.bias",
        "norm.weight": "cls.predictions.transform.LayerNorm.weight",
        "norm.bias": "cls.predictions.transform.LayerNorm.bias",
        "bias": "cls.predictions.bias",
    },
}
_DERIVED = re.compile(r"(^|\.)(position_ids|token_type_ids)$|^cls\.predictions\.decoder\.(weight|bias)$")  # buffers and tied weights
_PREFIX = re.compile(r"^(bert|ernie)\.")
_MAX_VOCABULARY = 1 << 24  # bytes
_TIED = ("cls.predictions.decoder.weight", "cls.predictions.decoder.bias")  # transformers leaves them out of its files too
_FAMILIES = ("bert", "ernie")  # whose names these are
_WRITTEN = {native.CONFIG, native.WEIGHTS, *huggingface_tokenizer.FILES}


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A Hugging Face folder in our terms.

    Attributes:
        encoder: with the folder's weights as float32.
        heads: task -> tensors of its head under our names; of a bare encoder's pooler only ``pool.*`` of ``seq-cls``.
        vocabulary: the lines of vocab.txt; empty without one.
        labels: names of a classifier, in the order of the logits; empty where config.json has none.
    """

    encoder: Encoder
    heads: dict[str, dict[str, Tensor]]
    vocabulary: tuple[str, ...]
    labels: tuple[str, ...]


def save_folder(
    folder: str | Path,
    *,
    encoder: Encoder,
    tokenizer: CharacterTokenizer,
    head: Head | None = None,
    labels: Sequence[str] = (),
    model_type: str = "bert",
) -> None:
    """Write a folder that ``transformers`` opens: config.json, model.safetensors, vocab.txt and the tokenizer's files. All or nothing.

    Args:
        head: of ``seq-cls``, ``text-matching``, ``token-cls`` or ``mlm``; without one the folder is a bare ``BertModel`` or ``ErnieModel``,
            which both classes open.
        labels: names of a classifier's outputs, in the order of the logits.
        model_type: ``bert`` (opens everywhere; a task type is folded into the token types) or ``ernie``.

    Raises:
        InputError: a head or model type that cannot be written, or ``folder`` holds something that this function did not write.
    """
    task = head.task if head is not None else None
    if model_type not in _FAMILIES or task not in KINDS:
        raise InputError(
            f"model_type={model_type!r} with the head {task!r} cannot be written as a Hugging Face folder; there are "
            f"{' and '.join(_FAMILIES)}, with the heads {', '.join(filter(None, KINDS))} or none"
        )
    if reason := why_not(head) or _why_not_as(model_type, encoder):
        raise InputError(reason)
    path = Path(folder).absolute()
    _require_own(path)
    with publish_folder(path) as temporary:
        write_files(temporary, encoder=encoder, tokenizer=tokenizer, head=head, labels=labels, model_type=model_type)


def why_not(head: Head | None) -> str | None:
    """Why ``transformers`` has no network for a head; ``None`` where it has."""
    if head is None:
        return None
    if head.form:
        return f"a head of the kind {head.form['kind']!r} has no place in a Hugging Face folder; fine-tune with train.method=finetune"
    return None if head.task in KINDS else f"transformers has no network for the head of task {head.task!r}"


def _why_not_as(model_type: str, encoder: Encoder) -> str | None:
    """Why an encoder is no model of a family with BERT's names."""
    if family_of(encoder.config) != "bert":
        return f"this is an {family_of(encoder.config)} encoder, not {model_type}: save the module, then nlphub convert --to transformers"
    return None


def write_files(
    folder: Path,
    *,
    encoder: Encoder,
    tokenizer: CharacterTokenizer,
    head: Head | None = None,
    labels: Sequence[str] = (),
    model_type: str = "bert",
) -> None:
    """Write the files of :func:`save_folder` into a folder that the caller publishes."""
    task = head.task if head is not None else None
    state = {
        name: tensor.cpu().contiguous() for name, tensor in to_huggingface(encoder, head, prefix=model_type).items() if name not in _TIED
    }
    if head is None:  # as save_pretrained of a bare model names them
        state = {_PREFIX.sub("", name): tensor for name, tensor in state.items()}
    facts = config_to_huggingface(encoder.config, labels=labels, task=task, model_type=model_type)
    publish_json(folder / native.CONFIG, facts | {"nlphub": __version__, "tie_word_embeddings": True})
    huggingface_tokenizer.save_tokenizer(folder, tokenizer, max_length=min(tokenizer.max_length, encoder.config.positions))
    with publish(folder / native.WEIGHTS) as stream:
        stream.write(save(state, {"format": "pt"}))


def load_folder(folder: str | Path) -> Loaded:
    """Read a folder that ``save_pretrained`` of ``transformers``, or :func:`save_folder`, wrote for a BERT or ERNIE encoder.

    Weights come from ``model.safetensors`` alone; formats that can run code are never opened.

    Raises:
        WeightsError: a file is missing, damaged, or of a model that this network cannot express; missing, extra and misshapen tensors
            are named.
    """
    path = Path(folder)
    config, weights = native.read_json(path / native.CONFIG), path / native.WEIGHTS
    if not weights.is_file():
        native.refuse_foreign(path)
        raise WeightsError(f"There is no {native.WEIGHTS} in {path}; weights in several files are not read: save them in one")
    state = read_foreign(weights, skip=_DERIVED)
    if config.get("model_type") in RELATIVES:
        raise WeightsError(f"{path} holds an {config['model_type']} model: nlphub convert {path.name} --to native --out FOLDER")
    with torch.device("meta"):  # no memory before the file has shown that it holds as much as its config says
        encoder = Encoder(config_from_huggingface(config, state))
    found = {name: tensor.float() for name, tensor in from_huggingface(state).items()}
    heads: dict[str, dict[str, Tensor]] = {}
    for name in [name for name in found if name.startswith("heads.")]:
        task, _, own = name.removeprefix("heads.").partition(".")
        heads.setdefault(task, {})[own] = found.pop(name)
    expected = {name: tuple(tensor.shape) for name, tensor in native.tensors(encoder).items()}
    check_shapes(weights, {name: tuple(tensor.shape) for name, tensor in found.items()}, expected)
    encoder.load_state_dict({name.removeprefix("encoder."): tensor for name, tensor in found.items()}, assign=True)
    return Loaded(encoder, heads, _vocabulary(path, encoder.config.vocab), _labels(config))


def from_huggingface(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our names (``encoder.*``, ``heads.<task>.*``) for the state of a ``BertModel``, ``ErnieModel`` or one of their task models.

    Raises:
        WeightsError: names that belong to neither; all are named.
    """
    left = {_PREFIX.sub("", name): tensor for name, tensor in state.items() if not _DERIVED.search(name)}
    layers = 1 + max((int(found[1]) for name in left if (found := re.match(r"encoder\.layer\.(\d+)\.", name))), default=-1)
    ours = {
        f"encoder.embeddings.{name}": left.pop(f"embeddings.{theirs}")
        for name, theirs in _EMBEDDINGS.items()
        if f"embeddings.{theirs}" in left
    }
    for layer in range(layers):
        ours |= _block_in(left, layer)
    other = "seq-cls" if _is_tagger(left) else "token-cls"  # their classifiers have the same name
    for task, names in ((known, names) for known, names in _HEADS.items() if known != other):
        theirs_of = {name: theirs.replace("{prefix}.", "") for name, theirs in names.items()}
        ours |= {f"heads.{task}.{name}": left.pop(theirs) for name, theirs in theirs_of.items() if theirs in left}
    if left or not layers:
        raise WeightsError(f"not the weights of a BERT or ERNIE encoder with a known head: {', '.join(sorted(left)[:8]) or 'no layers'}")
    return ours


def to_huggingface(encoder: Encoder, head: Head | None = None, *, prefix: str = "bert") -> dict[str, Tensor]:
    """The state of ``Bert...`` or ``Ernie...`` task models for our weights.

    Args:
        prefix: ``bert`` (a task type is folded into the token types) or ``ernie``.
    """
    ours = {name: tensor.detach().clone() for name, tensor in encoder.state_dict().items()}
    if prefix == "bert" and encoder.config.task_types:
        ours["embeddings.token_type.weight"] += ours.pop("embeddings.task_type.weight")[encoder.config.task_id]
    theirs = {
        f"{prefix}.embeddings.{_EMBEDDINGS[name]}": ours[f"embeddings.{name}"] for name in _EMBEDDINGS if f"embeddings.{name}" in ours
    }
    for layer in range(len(encoder.blocks)):
        _fill_heads(ours, layer, encoder.config.width - encoder.config.mixed)
        theirs |= _block_out(ours, layer, f"{prefix}.encoder.layer.{layer}")
    if head is not None:
        names = _HEADS["seq-cls" if head.task == "text-matching" else head.task]
        theirs |= {names[name].format(prefix=prefix): tensor.detach().clone() for name, tensor in head.state_dict().items()}
    if head is not None and head.task == "mlm":  # tied there too, but both names are expected in a file
        theirs["cls.predictions.decoder.weight"] = theirs[f"{prefix}.embeddings.word_embeddings.weight"]
        theirs["cls.predictions.decoder.bias"] = theirs["cls.predictions.bias"]
    return theirs


def _require_own(path: Path) -> None:
    """Refuse to replace a folder that :func:`save_folder` did not write."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    foreign = sorted({file.name for file in path.iterdir()} - _WRITTEN) if path.is_dir() else [path.name]
    if foreign or "nlphub" not in native.read_json(path / native.CONFIG):
        raise InputError(
            f"{path} is no Hugging Face folder of nlphub's ({', '.join(foreign[:5]) or 'another program wrote it'}): choose another"
        )


def _vocabulary(folder: Path, size: int) -> tuple[str, ...]:
    path = folder / "vocab.txt"
    if not path.is_file():
        return ()
    if path.stat().st_size > _MAX_VOCABULARY:
        raise WeightsError(f"{path} is larger than {_MAX_VOCABULARY:,} bytes: this is no vocabulary")
    try:
        entries = tuple(path.read_text(encoding="utf-8").removesuffix("\n").split("\n"))
    except UnicodeDecodeError as wrong:
        raise WeightsError(f"{path} is not UTF-8: {wrong}") from wrong
    if len(entries) > size:
        raise WeightsError(f"{path} has {len(entries):,} entries, and the network has embeddings for {size:,}")
    return entries


def _labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The label names of a classifier's config, where they are numbered from 0 on."""
    names = config.get("id2label")
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        return ()
    numbers = [str(number) for number in range(len(names))]
    return tuple(names[number] for number in numbers) if set(numbers) == set(names) else ()


def _block_in(left: dict[str, Tensor], layer: int) -> dict[str, Tensor]:
    """One layer's tensors under our names, taken out of ``left``."""
    start, ours = f"encoder.layer.{layer}", {}
    for kind in ("weight", "bias"):
        parts = [_take(left, f"{start}.attention.self.{part}.{kind}") for part in ("query", "key", "value")]
        ours[f"encoder.blocks.{layer}.qkv.{kind}"] = torch.cat(parts)
        ours |= {f"encoder.blocks.{layer}.{name}.{kind}": _take(left, f"{start}.{theirs}.{kind}") for name, theirs in _BLOCK.items()}
    return ours


def _block_out(ours: Mapping[str, Tensor], layer: int, start: str) -> dict[str, Tensor]:
    theirs: dict[str, Tensor] = {}
    for kind in ("weight", "bias"):
        parts = ours[f"blocks.{layer}.qkv.{kind}"].chunk(3)
        theirs |= {
            f"{start}.attention.self.{part}.{kind}": tensor.clone() for part, tensor in zip(("query", "key", "value"), parts, strict=True)
        }
        theirs |= {f"{start}.{name}.{kind}": ours[f"blocks.{layer}.{own}.{kind}"] for own, name in _BLOCK.items()}
    return theirs


def _fill_heads(ours: dict[str, Tensor], layer: int, missing: int) -> None:
    """Put heads of zeros, ``missing`` wide, in the place of pruned ones, in place: other libraries have heads that fill the width."""
    for kind in ("weight", "bias") if missing else ():
        name = f"blocks.{layer}.qkv.{kind}"
        parts = ours[name].chunk(3)
        ours[name] = torch.cat([torch.cat([part, part.new_zeros(missing, *part.shape[1:])]) for part in parts])
    if missing:
        ours[f"blocks.{layer}.out.weight"] = F.pad(ours[f"blocks.{layer}.out.weight"], (0, missing))


def _is_tagger(left: Mapping[str, Tensor]) -> bool:
    """Whether a classifier is one of tokens: such a model has no pooler."""
    return "classifier.weight" in left and "pooler.dense.weight" not in left


def _take(left: dict[str, Tensor], name: str) -> Tensor:
    if name not in left:
        raise WeightsError(f"the checkpoint has no {name}")
    return left.pop(name)
