"""Parity with transformers on the same small random weights, and lossless conversion both ways."""

from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from nlphub.checkpoints.huggingface import config_from_huggingface, from_huggingface, to_huggingface
from nlphub.checkpoints.native import tensors
from nlphub.data.batching import Packed
from nlphub.errors import WeightsError
from nlphub.nn.encoder import Encoder, Rows
from nlphub.nn.heads import Head, MaskedLMHead, SequenceHead

NUMBERS = {
    "vocab_size": 50,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-5,
    "initializer_range": 0.3,
    "pad_token_id": 0,
}
RAGGED = [5, 5, 1, 9, 9, 2, 31, 64]
FAMILIES = ["bert", "ernie", "ernie-task"]


def theirs(family: str, kind: str, **changes: Any) -> Any:
    """A model of transformers with random weights, biases and norms included."""
    config_of = transformers.BertConfig if family == "bert" else transformers.ErnieConfig
    extra = {} if family == "bert" else {"use_task_id": family == "ernie-task", "task_type_vocab_size": 3, "task_id": 1}
    config = config_of(**{**NUMBERS, **extra, **changes})
    torch.manual_seed(3)
    name = ("Bert" if family == "bert" else "Ernie") + kind
    model = getattr(transformers, name)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def ours(model: Any) -> tuple[Encoder, dict[str, Tensor]]:
    state = from_huggingface(model.state_dict())
    encoder = Encoder(config_from_huggingface(model.config.to_dict(), model.state_dict()))
    encoder.load_state_dict({name.removeprefix("encoder."): tensor for name, tensor in state.items() if name.startswith("encoder.")})
    return encoder, state


def loaded(head: Head, state: dict[str, Tensor]) -> Head:
    start = f"heads.{head.task}."
    head.load_state_dict({name.removeprefix(start): tensor for name, tensor in state.items() if name.startswith(start)})
    return head


def padded(packed: Packed[Tensor]) -> dict[str, Tensor]:
    lengths = packed.lengths.tolist()
    inputs = {name: torch.zeros(len(lengths), max(lengths)).long() for name in ("input_ids", "attention_mask", "token_type_ids")}
    for row, (start, length) in enumerate(zip(packed.starts.tolist(), lengths, strict=True)):
        inputs["input_ids"][row, :length] = packed.ids[start : start + length]
        inputs["token_type_ids"][row, :length] = packed.types[start : start + length]
        inputs["attention_mask"][row, :length] = 1
    return inputs


def arguments(packed: Packed[Tensor], family: str) -> dict[str, Tensor]:
    inputs = padded(packed)
    return inputs | {"task_type_ids": torch.full_like(inputs["input_ids"], 1)} if family == "ernie-task" else inputs


@pytest.mark.parametrize("activation", ["gelu", "relu"])
@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_rows_equal_those_of_transformers(batch, family, activation):
    model, packed = theirs(family, "Model", hidden_act=activation), batch(RAGGED)
    encoder, _ = ours(model)
    assert encoder.config.task_types == (3 if family == "ernie-task" else 0)
    with torch.no_grad():
        expected = model(**arguments(packed, family)).last_hidden_state
        found = {rows: encoder(packed, rows=rows) for rows in ("all", "cls")}
    rows: Rows
    for rows, place in (("all", padded(packed)["attention_mask"].bool()), ("cls", (slice(None), 0))):
        torch.testing.assert_close(found[rows], expected[place], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_of_a_classifier_equal_those_of_transformers(batch, family):
    model, packed = theirs(family, "ForSequenceClassification", num_labels=4), batch(RAGGED)
    encoder, state = ours(model)
    head = loaded(SequenceHead(24, 4), state)
    with torch.no_grad():
        expected = model(**arguments(packed, family)).logits
        torch.testing.assert_close(head(encoder(packed, rows="cls")), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("activation", ["gelu", "relu"])
@pytest.mark.parametrize("family", ["bert", "ernie"])
def test_masked_words_equal_those_of_transformers(batch, family, activation):
    model, packed = theirs(family, "ForMaskedLM", hidden_act=activation, layer_norm_eps=1e-3), batch(RAGGED)
    encoder, state = ours(model)
    head = loaded(MaskedLMHead(24, 50), state)
    head.attach(encoder)
    inputs = arguments(packed, family)
    with torch.no_grad():
        expected = model(**inputs).logits[inputs["attention_mask"].bool()]
        torch.testing.assert_close(head(encoder(packed)), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["ForSequenceClassification", "ForMaskedLM"])
@pytest.mark.parametrize("family", FAMILIES)
def test_there_and_back_is_the_same_model(family, kind):
    model = theirs(family, kind, num_labels=4)
    encoder, state = ours(model)
    head = loaded(SequenceHead(24, 4) if kind == "ForSequenceClassification" else MaskedLMHead(24, 50), state)
    back = to_huggingface(encoder, head, prefix=family.partition("-")[0])
    expected = model.state_dict()
    assert back.keys() == {name for name in expected if not name.endswith(("position_ids", "token_type_ids"))}
    for name, tensor in back.items():
        assert torch.equal(tensor, expected[name]), name


def test_a_task_type_is_folded_into_a_plain_bert(batch):
    ernie, packed = theirs("ernie-task", "ForSequenceClassification", num_labels=4), batch(RAGGED)
    encoder, state = ours(ernie)
    bert = theirs("bert", "ForSequenceClassification", num_labels=4)
    bert.load_state_dict(to_huggingface(encoder, loaded(SequenceHead(24, 4), state)))
    with torch.no_grad():
        torch.testing.assert_close(bert(**padded(packed)).logits, ernie(**arguments(packed, "ernie-task")).logits, atol=1e-5, rtol=1e-5)
    assert encoder.embeddings.task_type is not None  # ours is untouched


def test_the_bare_pooler_becomes_the_pool_of_the_sequence_head():
    state = from_huggingface(theirs("bert", "Model").state_dict())
    assert {name for name in state if name.startswith("heads.")} == {"heads.seq-cls.pool.weight", "heads.seq-cls.pool.bias"}


def test_names_that_do_not_belong_are_named():
    state = theirs("bert", "Model").state_dict()
    with pytest.raises(WeightsError, match=r"encoder\.layer\.0\.crossattention\.x"):
        from_huggingface({**state, "encoder.layer.0.crossattention.x": torch.zeros(1)})
    del state["encoder.layer.1.attention.self.key.bias"]
    with pytest.raises(WeightsError, match=r"no encoder\.layer\.1\.attention\.self\.key\.bias"):
        from_huggingface(state)
    with pytest.raises(WeightsError, match="no layers"):
        from_huggingface({})


@pytest.mark.parametrize(
    ("change", "message"),
    [({"model_type": "gpt2"}, "gpt2"), ({"hidden_act": "gelu_new"}, "activation='gelu_new'"), ({"hidden_size": 25}, "multiple of heads")],
)
def test_models_that_are_no_encoder_of_ours_are_refused(change, message):
    model = theirs("bert", "Model")
    with pytest.raises(WeightsError, match=message):
        config_from_huggingface({**model.config.to_dict(), **change}, model.state_dict())


def test_conversion_keeps_every_value():
    model = theirs("ernie-task", "Model")
    encoder, state = ours(model)
    for name, tensor in tensors(encoder).items():
        assert torch.equal(tensor, state[name]), name
