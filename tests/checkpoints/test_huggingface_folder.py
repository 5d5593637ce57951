"""Whole Hugging Face folders: what we write opens in transformers with equal results, what transformers writes is read bit by bit."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import nlphub as hub
from nlphub.checkpoints import native
from nlphub.checkpoints.huggingface import Loaded, from_huggingface, load_folder, save_folder
from nlphub.data.batching import pad
from nlphub.errors import InputError, WeightsError
from nlphub.nn.dense import dense_encode
from nlphub.nn.encoder import Encoder, EncoderConfig
from nlphub.nn.heads import MaskedLMHead, SequenceHead
from nlphub.nn.initialise import initialise
from nlphub.paths import bundle
from nlphub.text.tokenizers import load_tokenizer

TEXTS = ["今天天气真好", "我要退这双鞋，订单号ＡＢＣ１２還沒到", "", "hello  World 123！😀", "龘体體\u200b　x", "他说：「轉人工」？"]
LABELS = ["查物流", "退货", "转人工"]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer(bundle() / "tokenizers" / "zh_char")


def network(task: str | None, *, task_types: int = 0) -> dict[str, Any]:
    """Small, random, far from uniform."""
    config = EncoderConfig(
        vocab=8192, layers=2, width=24, heads=3, inner=40, positions=64, task_types=task_types, task_id=min(1, task_types)
    )
    encoder = Encoder(config)
    head = {"mlm": MaskedLMHead(24, 8192), "seq-cls": SequenceHead(24, 3)}.get(task or "")
    for seed, part in enumerate(part for part in (encoder, head) if part is not None):
        initialise(part, seed)
        with torch.no_grad():
            for parameter in part.parameters():
                parameter.mul_(8.0 if parameter.ndim > 1 else 1.0).add_(torch.randn(parameter.shape) * 0.1 if parameter.ndim == 1 else 0)
    if head is not None:
        head.attach(encoder)
    return {"encoder": encoder, "head": head}


def opened(kind: str, folder: Path) -> Any:
    transformers.utils.logging.set_verbosity_error()
    model, facts = getattr(transformers, kind).from_pretrained(folder, output_loading_info=True)
    missing = [name for name in facts["missing_keys"] if "pooler" not in name]  # of a bare model from a folder with a head
    unexpected = [name for name in facts["unexpected_keys"] if not name.startswith("cls.")]
    assert not any((missing, unexpected, facts["mismatched_keys"])), facts
    return model.eval()


def inputs(tokenizer: Any) -> dict[str, torch.Tensor]:
    import numpy as np

    encoded = tokenizer.encode(TEXTS, max_length=64)
    arrays = pad(encoded, np.arange(len(TEXTS)), pad_id=tokenizer.pad_id)
    return dict(zip(("input_ids", "attention_mask", "token_type_ids"), map(torch.from_numpy, arrays), strict=True))


def hidden(encoder: Encoder, given: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.inference_mode():
        return dense_encode(encoder, **given)


@pytest.mark.parametrize(
    ("model_type", "kind", "task_types"),
    [("bert", "BertModel", 0), ("bert", "BertModel", 3), ("ernie", "ErnieModel", 0), ("bert", "AutoModel", 0), ("ernie", "AutoModel", 0)],
)
def test_a_bare_encoder_opens_with_equal_hidden_rows(tmp_path, tokenizer, model_type, kind, task_types):
    parts = network(None, task_types=task_types)
    save_folder(tmp_path / "hf", tokenizer=tokenizer, model_type=model_type, **parts)
    model, given = opened(kind, tmp_path / "hf"), inputs(tokenizer)
    with torch.inference_mode():
        theirs = model(**given).last_hidden_state
    seen = given["attention_mask"].bool()
    torch.testing.assert_close(theirs[seen], hidden(parts["encoder"], given)[seen], atol=2e-6, rtol=1e-5)


def test_task_types_are_kept_for_ernie(tmp_path, tokenizer):
    parts = network(None, task_types=3)
    save_folder(tmp_path / "hf", tokenizer=tokenizer, model_type="ernie", **parts)
    model, given = opened("ErnieModel", tmp_path / "hf"), inputs(tokenizer)
    with torch.inference_mode():
        theirs = model(**given, task_type_ids=torch.full_like(given["input_ids"], 1)).last_hidden_state
    seen = given["attention_mask"].bool()
    torch.testing.assert_close(theirs[seen], hidden(parts["encoder"], given)[seen], atol=2e-6, rtol=1e-5)
    assert torch.equal(load_folder(tmp_path / "hf").encoder.embeddings.task_type.weight, parts["encoder"].embeddings.task_type.weight)


@pytest.mark.parametrize("family", ["Bert", "Ernie"])
@pytest.mark.parametrize(("task", "kind"), [("mlm", "ForMaskedLM"), ("seq-cls", "ForSequenceClassification")])
def test_heads_open_with_equal_logits(tmp_path, tokenizer, family, task, kind):
    parts = network(task)
    save_folder(tmp_path / "hf", tokenizer=tokenizer, model_type=family.lower(), labels=LABELS if task == "seq-cls" else (), **parts)
    model, given = opened(family + kind, tmp_path / "hf"), inputs(tokenizer)
    with torch.inference_mode():
        theirs = model(**given).logits
        rows = dense_encode(parts["encoder"], **given, rows=parts["head"].rows)
        ours = parts["head"](rows)
    seen = given["attention_mask"].bool() if task == "mlm" else slice(None)
    torch.testing.assert_close(theirs[seen], ours[seen], atol=2e-5, rtol=1e-5)
    if task == "seq-cls":
        assert [model.config.id2label[number] for number in range(3)] == LABELS


@pytest.mark.parametrize("task", [None, "mlm", "seq-cls"])
def test_what_was_written_is_read_back_bit_by_bit(tmp_path, tokenizer, task):
    parts = network(task)
    save_folder(tmp_path / "hf", tokenizer=tokenizer, labels=LABELS if task == "seq-cls" else (), **parts)
    save_folder(tmp_path / "hf", tokenizer=tokenizer, labels=LABELS if task == "seq-cls" else (), **parts)  # over its own
    again = load_folder(tmp_path / "hf")
    assert native.weights_digest(again.encoder) == native.weights_digest(parts["encoder"])
    assert again.encoder.config == parts["encoder"].config
    assert again.vocabulary == tokenizer.vocabulary
    assert again.labels == (tuple(LABELS) if task == "seq-cls" else ())
    assert list(again.heads) == ([task] if task else [])
    for name, tensor in (parts["head"].state_dict() if task else {}).items():
        assert torch.equal(again.heads[task][name], tensor)


def theirs(folder: Path, kind: str, **changes: Any) -> Any:
    """A folder as transformers writes it."""
    small = {"vocab_size": 50, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}
    config_of = transformers.BertConfig if kind.startswith("Bert") else transformers.ErnieConfig
    torch.manual_seed(3)
    model = getattr(transformers, kind)(config_of(**{**small, **changes})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        *((kind, {}) for kind in ("BertModel", "BertForMaskedLM", "BertForSequenceClassification", "ErnieModel", "ErnieForMaskedLM")),
        *((kind, {"use_task_id": True, "task_type_vocab_size": 3}) for kind in ("ErnieModel", "ErnieForMaskedLM")),
    ],
)
def test_folders_of_transformers_are_read_bit_by_bit(tmp_path, kind, changes):
    model = theirs(tmp_path, kind, **changes)
    found = load_folder(tmp_path)
    expected = from_huggingface(model.state_dict())
    ours = native.tensors(found.encoder) | {
        f"heads.{task}.{name}": tensor for task, head in found.heads.items() for name, tensor in head.items()
    }
    assert ours.keys() == expected.keys()
    for name, tensor in ours.items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, expected[name]), name
    assert found.vocabulary == ()


def test_half_precision_is_read_and_whole_number_buffers_are_passed_over(tmp_path):
    model = theirs(tmp_path, "BertModel")
    path = tmp_path / "model.safetensors"
    state = {name: tensor.half() for name, tensor in load_file(path).items()}
    save_file(state | {"embeddings.position_ids": torch.arange(512)[None]}, path, {"format": "pt"})
    found = load_folder(tmp_path)
    assert torch.equal(found.encoder.embeddings.word.weight, model.embeddings.word_embeddings.weight.half().float())


def test_autotokenizer_gives_our_ids(tmp_path, tokenizer):
    save_folder(tmp_path / "hf", tokenizer=tokenizer, **network(None))
    other = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    everything = "".join(chr(code) for code in range(0x20000) if not 0xD800 <= code < 0xE000)
    texts = [*TEXTS, *(everything[start : start + 500] for start in range(0, len(everything), 500))]
    found = [other.backend_tokenizer.encode(text).ids for text in texts]
    for text, ids, expected in zip(texts, found, tokenizer.encode(texts).lists(), strict=True):
        assert ids == expected, ascii(text[:50])
    for text, ids in zip(TEXTS, found, strict=False):
        assert other.decode(ids, skip_special_tokens=True).replace(" ", "") == tokenizer.decode(ids).replace("[UNK]", ""), text
    assert other(TEXTS[:1])["input_ids"] == found[:1]
    assert other.mask_token_id == tokenizer.mask_id
    assert other("今天天[MASK]真好")["input_ids"] == tokenizer.encode_masked(["今天天[MASK]真好"]).lists()[0]
    assert (other.pad_token_id, other.model_max_length) == (tokenizer.pad_id, 64)


def test_other_heads_types_and_foreign_folders_are_refused(tmp_path, tokenizer):
    with pytest.raises(InputError, match="gpt2"):
        save_folder(tmp_path / "a", tokenizer=tokenizer, model_type="gpt2", **network(None))
    theirs(tmp_path / "b", "BertModel")
    with pytest.raises(InputError, match="another program wrote it"):
        save_folder(tmp_path / "b", tokenizer=tokenizer, **network(None))
    (tmp_path / "b" / "thesis.txt").touch()
    with pytest.raises(InputError, match=r"thesis\.txt"):
        save_folder(tmp_path / "b", tokenizer=tokenizer, **network(None))


def change(folder: Path, **facts: Any) -> None:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(config | facts), "utf-8")


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"model_type": "gpt2"}, "gpt2"),
        ({"vocab_size": 51}, r"word\.weight \(50, 24\) instead of \(51, 24\)"),
        ({"vocab_size": 1 << 22, "hidden_size": 3 << 12, "intermediate_size": 1 << 16}, "of another shape"),
        ({"num_hidden_layers": 3}, r"missing: encoder\.blocks\.2"),
        ({"num_hidden_layers": 1}, r"not expected: encoder\.blocks\.1"),
        ({"hidden_act": "swish"}, "activation"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_config_that_does_not_fit_its_weights_is_refused_before_memory_is_taken(tmp_path, facts, message):
    theirs(tmp_path, "BertModel")
    change(tmp_path, **facts)
    with pytest.raises(WeightsError, match=message):
        load_folder(tmp_path)


def test_missing_foreign_and_damaged_files_are_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"has no config\.json"):
        load_folder(tmp_path)
    theirs(tmp_path, "BertModel")
    (tmp_path / "vocab.txt").write_text("\n".join(map(str, range(51))), "utf-8")
    with pytest.raises(WeightsError, match="51 entries"):
        load_folder(tmp_path)
    (tmp_path / "vocab.txt").write_bytes(b"\xff")
    with pytest.raises(WeightsError, match="not UTF-8"):
        load_folder(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="cut off"):
        load_folder(tmp_path)
    path.rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="never read"):
        load_folder(tmp_path)
    (tmp_path / "pytorch_model.bin").rename(tmp_path / "model-00001-of-00002.safetensors")
    with pytest.raises(WeightsError, match="several files"):
        load_folder(tmp_path)


def test_a_compact_file_of_ours_is_no_hugging_face_file(tmp_path):
    theirs(tmp_path, "BertModel")
    native.save_weights(tmp_path / "model.safetensors", native.tensors(network(None)["encoder"]), form="int8")
    with pytest.raises(WeightsError, match="int8"):
        load_folder(tmp_path)


def test_wrong_label_tables_give_no_names(tmp_path):
    theirs(tmp_path, "BertForSequenceClassification")
    change(tmp_path, id2label={"0": "a", "2": "b"})
    assert load_folder(tmp_path).labels == ()


def test_the_shipped_weights_open_in_transformers(tmp_path):
    """The module that this repository ships: hidden rows and the best fillings are the same there."""
    assert native.has_weights(bundle() / "modules" / "ernie_tiny"), "random weights prove nothing about those that ship"
    module = hub.Module(name="ernie_tiny", task="mlm")
    given = inputs(module.tokenizer)
    seen = given["attention_mask"].bool()
    for family in ("Bert", "Ernie"):
        folder = tmp_path / family
        save_folder(folder, encoder=module.encoder, tokenizer=module.tokenizer, head=module.head, model_type=family.lower())
        with torch.inference_mode():
            rows = opened(f"{family}Model", folder)(**given).last_hidden_state
            logits = opened(f"{family}ForMaskedLM", folder)(**given).logits
            expected = hidden(module.encoder, given)
            torch.testing.assert_close(rows[seen], expected[seen], atol=1e-4, rtol=1e-5)
            torch.testing.assert_close(logits[seen], module.head(expected)[seen], atol=1e-3, rtol=1e-4)
    assert isinstance(load_folder(tmp_path / "Bert"), Loaded)
