"""Weights of Hugging Face's ``BertModel`` and ``ErnieModel`` families to ours and back, without loss.

Only names and layouts change: three projections become one ``qkv``. With ``prefix="bert"`` ERNIE's constant task type is folded into the
token types, so that any ``transformers`` opens the result as a plain BERT.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nlphub.errors import InputError, WeightsError
from nlphub.nn.config import EncoderConfig
from nlphub.nn.encoder import Encoder
from nlphub.nn.heads import Head

_EMBEDDINGS = {
    "word.weight": "word_embeddings.weight",
    "position.weight": "position_embeddings.weight",
    "token_type.weight": "token_type_embeddings.weight",
    "task_type.weight": "task_type_embeddings.weight",
    "norm.weight": "LayerNorm.weight",
    "norm.bias": "LayerNorm.bias",
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


def config_from_huggingface(config: Mapping[str, Any], state: Mapping[str, Tensor]) -> EncoderConfig:
    """The numbers of an encoder from a ``config.json`` and the weights beside it.

    Task types are taken to exist when the weights have them: configs of converted ERNIE checkpoints are wrong about it.

    Raises:
        WeightsError: the model is not a BERT or ERNIE encoder that this network can express.
    """
    if config.get("model_type") not in ("bert", "ernie"):
        raise WeightsError(f"model_type {config.get('model_type')!r} is neither 'bert' nor 'ernie'")
    task_types = next((len(tensor) for name, tensor in state.items() if name.endswith("task_type_embeddings.weight")), 0)
    try:
        return EncoderConfig(
            vocab=config["vocab_size"],
            layers=config["num_hidden_layers"],
            width=config["hidden_size"],
            heads=config["num_attention_heads"],
            inner=config["intermediate_size"],
            positions=config["max_position_embeddings"],
            types=config["type_vocab_size"],
            task_types=task_types,
            task_id=config.get("task_id", 0) if task_types else 0,
            activation=config["hidden_act"],
            dropout=config["hidden_dropout_prob"],
            attention_dropout=config["attention_probs_dropout_prob"],
            eps=config["layer_norm_eps"],
        )
    except KeyError as missing:
        raise WeightsError(f"the Hugging Face config has no {missing}") from missing
    except InputError as wrong:
        raise WeightsError(f"this Hugging Face model is no encoder of ours: {wrong}") from wrong


def config_to_huggingface(config: EncoderConfig, *, labels: Sequence[str]) -> dict[str, Any]:
    """``config.json`` of a plain BERT classifier with our numbers, as Hugging Face's tools read it.

    Args:
        labels: names, in the order of the logits.
    """
    return {
        "architectures": ["BertForSequenceClassification"],
        "attention_probs_dropout_prob": config.attention_dropout,
        "hidden_act": config.activation,
        "hidden_dropout_prob": config.dropout,
        "hidden_size": config.width,
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "intermediate_size": config.inner,
        "label2id": {label: number for number, label in enumerate(labels)},
        "layer_norm_eps": config.eps,
        "max_position_embeddings": config.positions,
        "model_type": "bert",
        "num_attention_heads": config.heads,
        "num_hidden_layers": config.layers,
        "pad_token_id": 0,
        "problem_type": "single_label_classification",
        "type_vocab_size": config.types,
        "vocab_size": config.vocab,
    }


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
    for task, names in _HEADS.items():
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
    for layer in range(encoder.config.layers):
        theirs |= _block_out(ours, layer, f"{prefix}.encoder.layer.{layer}")
    if head is not None:
        names = _HEADS[head.task]
        theirs |= {names[name].format(prefix=prefix): tensor.detach().clone() for name, tensor in head.state_dict().items()}
    if head is not None and head.task == "mlm":  # tied there too, but both names are expected in a file
        theirs["cls.predictions.decoder.weight"] = theirs[f"{prefix}.embeddings.word_embeddings.weight"]
        theirs["cls.predictions.decoder.bias"] = theirs["cls.predictions.bias"]
    return theirs


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


def _take(left: dict[str, Tensor], name: str) -> Tensor:
    if name not in left:
        raise WeightsError(f"the checkpoint has no {name}")
    return left.pop(name)
