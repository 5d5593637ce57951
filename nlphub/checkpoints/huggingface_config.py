"""``config.json`` of Hugging Face's BERT, ERNIE, ALBERT and ELECTRA families, from our numbers and back."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from nlphub.errors import InputError, WeightsError
from nlphub.nn.config import EncoderConfig

FAMILIES = {"albert": "Albert", "bert": "Bert", "electra": "Electra", "ernie": "Ernie"}
KINDS = {
    None: "Model",
    "mlm": "ForMaskedLM",
    "seq-cls": "ForSequenceClassification",
    "text-matching": "ForSequenceClassification",
    "token-cls": "ForTokenClassification",
}
_PROBLEM = {"seq-cls": "single_label_classification", "text-matching": "single_label_classification"}


def config_from_huggingface(config: Mapping[str, Any], state: Mapping[str, Tensor]) -> EncoderConfig:
    """The numbers of an encoder from a ``config.json`` and the weights beside it.

    Task types are taken to exist when the weights have them: configs of converted ERNIE checkpoints are wrong about it.

    Raises:
        WeightsError: the model is no encoder of these families that this network can express.
    """
    family = config.get("model_type")
    if family not in FAMILIES:
        raise WeightsError(f"model_type {family!r} is none of {', '.join(FAMILIES)}")
    if family == "albert" and (config.get("num_hidden_groups", 1), config.get("inner_group_num", 1)) != (1, 1):
        raise WeightsError("this ALBERT has several groups of layers; nlphub has the usual one, in which all layers share their weights")
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
            embedding=_embedding(family, config),
            shared=family == "albert",
        )
    except KeyError as missing:
        raise WeightsError(f"the Hugging Face config has no {missing}") from missing
    except InputError as wrong:
        raise WeightsError(f"this Hugging Face model is no encoder of ours: {wrong}") from wrong


def family_of(config: EncoderConfig) -> str:
    """The family that has networks of these numbers, where nothing else says it."""
    return "albert" if config.shared else "electra" if config.embedding else "bert"


def config_to_huggingface(
    config: EncoderConfig, *, labels: Sequence[str] = (), task: str | None = "seq-cls", model_type: str = "bert"
) -> dict[str, Any]:
    """``config.json`` with our numbers, as Hugging Face's tools read it.

    Args:
        labels: names of a classifier, in the order of the logits.
        task: of the head; ``None`` for the bare encoder. One without a network in
            ``transformers`` is described as a bare encoder with labels.
        model_type: one of :data:`FAMILIES`; of ``ernie`` with its task types ``transformers`` takes number 0 unless it is told otherwise.
    """
    task_types = {"task_id": config.task_id, "task_type_vocab_size": max(1, config.task_types), "use_task_id": config.task_types > 0}
    classes = {
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "label2id": {label: number for number, label in enumerate(labels)},
        **({"problem_type": _PROBLEM[task]} if task in _PROBLEM else {}),
    }
    groups = {"classifier_dropout_prob": config.dropout, "inner_group_num": 1, "num_hidden_groups": 1}
    return {
        **(task_types if model_type == "ernie" else {}),
        **(groups if model_type == "albert" else {}),
        **({"embedding_size": config.embedded} if model_type in ("albert", "electra") else {}),
        **(classes if task not in (None, "mlm") else {}),
        "architectures": [FAMILIES[model_type] + KINDS.get(task, "Model")],
        "attention_probs_dropout_prob": config.attention_dropout,
        "hidden_act": config.activation,
        "hidden_dropout_prob": config.dropout,
        "hidden_size": config.width,
        "intermediate_size": config.inner,
        "layer_norm_eps": config.eps,
        "max_position_embeddings": config.positions,
        "model_type": model_type,
        "num_attention_heads": config.whole().heads,
        "num_hidden_layers": config.layers,
        "pad_token_id": 0,
        "type_vocab_size": config.types,
        "vocab_size": config.vocab,
    }


def _embedding(family: str, config: Mapping[str, Any]) -> int:
    """Width of the embeddings, 0 where no matrix follows them: ALBERT always has one, ELECTRA where the widths differ."""
    if family not in ("albert", "electra") or (family == "electra" and config["embedding_size"] == config["hidden_size"]):
        return 0
    width: int = config["embedding_size"]
    return width
