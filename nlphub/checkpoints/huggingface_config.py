"""``config.json`` of Hugging Face's BERT and ERNIE families, from our numbers and back."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from nlphub.errors import InputError, WeightsError
from nlphub.nn.config import EncoderConfig

FAMILIES = {"bert": "Bert", "ernie": "Ernie"}
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


def config_to_huggingface(
    config: EncoderConfig, *, labels: Sequence[str] = (), task: str | None = "seq-cls", model_type: str = "bert"
) -> dict[str, Any]:
    """``config.json`` with our numbers, as Hugging Face's tools read it.

    Args:
        labels: names of a classifier, in the order of the logits.
        task: of the head; ``None`` for the bare encoder. One without a network in
            ``transformers`` is described as a bare encoder with labels.
        model_type: ``bert``, or ``ernie`` with its task types, of which ``transformers`` takes number 0 unless it is told otherwise.
    """
    task_types = {"task_id": config.task_id, "task_type_vocab_size": max(1, config.task_types), "use_task_id": config.task_types > 0}
    classes = {
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "label2id": {label: number for number, label in enumerate(labels)},
        **({"problem_type": _PROBLEM[task]} if task in _PROBLEM else {}),
    }
    return {
        **(task_types if model_type == "ernie" else {}),
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
