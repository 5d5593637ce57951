"""The other forms of an export: a folder that transformers opens, one file of text, and what each refuses."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import nlphub as hub
from nlphub.calibration import softmax
from nlphub.checkpoints.huggingface import from_huggingface, load_folder, to_huggingface
from nlphub.cli import export as command
from nlphub.errors import ExportError, InputError
from nlphub.export.formats import export_as
from nlphub.nn.heads import TokenHead
from nlphub.nn.inference import head_logits
from nlphub.nn.initialise import initialise
from nlphub.nn.prototypes import fit_prototypes, labelled
from nlphub.runtime.textgraph import TextGraph

TEXTS = ["我要退这双鞋", "我的訂單號ＡＢＣ１２還沒到", "", "hello  World 123！😀", "他说：「轉人工」？"]


@pytest.fixture(autouse=True)
def quiet() -> None:
    transformers.utils.logging.set_verbosity_error()


def theirs(folder: Path, kind: str, tokenizer: Any) -> tuple[Any, list[list[int]], torch.Tensor]:
    """The opened model, its ids of the texts, and its logits."""
    model = getattr(transformers, kind).from_pretrained(folder).eval()
    given = transformers.AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt")
    ids = [row[mask.bool()].tolist() for row, mask in zip(given["input_ids"], given["attention_mask"], strict=True)]
    assert ids == tokenizer.encode(TEXTS).lists()
    with torch.inference_mode():
        found = model(**given)
    return model, ids, found.logits[given["attention_mask"].bool()] if kind.endswith("TokenClassification") else found[0]


def test_a_classifier_opens_in_transformers_with_equal_probabilities_and_ids(parts, tmp_path):
    report = export_as("transformers", tmp_path / "hf", **parts)
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt"} == set(report.files)
    model, _, logits = theirs(tmp_path / "hf", "AutoModelForSequenceClassification", parts["tokenizer"])
    ours = head_logits(parts["encoder"], parts["head"], parts["tokenizer"].encode(TEXTS))
    np.testing.assert_allclose(softmax(logits.numpy()), softmax(ours), atol=1e-5)
    assert model.config.model_type == "bert"  # a task type of ERNIE is folded into the token types
    assert list(model.config.id2label.values()) == list(parts["labels"])
    assert transformers.AutoModel.from_pretrained(tmp_path / "hf").config.hidden_size == 24


def test_a_finder_of_spans_opens_in_transformers_with_equal_tags_and_ids(parts, tmp_path):
    head = TokenHead(24, 5)
    initialise(head, 1)
    export_as("transformers", tmp_path / "hf", **{**parts, "head": head, "labels": ("PER", "LOC")})
    model, _, logits = theirs(tmp_path / "hf", "AutoModelForTokenClassification", parts["tokenizer"])
    ours = head_logits(parts["encoder"], head, parts["tokenizer"].encode(TEXTS))
    np.testing.assert_allclose(softmax(logits.numpy()), softmax(ours), atol=1e-5)
    assert list(model.config.id2label.values()) == ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    again = load_folder(tmp_path / "hf").heads
    assert list(again) == ["token-cls"]
    assert torch.equal(again["token-cls"]["classifier.weight"], head.classifier.weight)


def test_classifiers_of_texts_and_of_tokens_are_told_apart(parts):
    head = TokenHead(24, 5)
    assert {name for name in from_huggingface(to_huggingface(parts["encoder"], head)) if name.startswith("heads.")} == {
        "heads.token-cls.classifier.weight",
        "heads.token-cls.classifier.bias",
    }
    assert {
        name.split(".")[1] for name in from_huggingface(to_huggingface(parts["encoder"], parts["head"])) if name.startswith("heads.")
    } == {"seq-cls"}


def prototypes(parts: dict[str, Any]) -> dict[str, Any]:
    encoded = parts["tokenizer"].encode(TEXTS[:4])
    ids = [encoded.ids[a:b] for a, b in zip(encoded.starts, encoded.starts[1:], strict=False)]
    return {**parts, "head": fit_prototypes(parts["encoder"], labelled(ids, [0, 1, 2, 3]), 4).head}


def test_prototypes_cannot_leave_for_transformers_and_the_error_says_what_to_do(parts, tmp_path):
    with pytest.raises(ExportError, match=r"train\.method=finetune"):
        export_as("transformers", tmp_path / "hf", **prototypes(parts))
    assert not (tmp_path / "hf").exists()


def test_another_form_is_refused_with_the_near_name(parts, tmp_path):
    with pytest.raises(InputError, match="Did you mean 'transformers'"):
        export_as("transformer", tmp_path / "x", **parts)


def test_a_file_of_text_does_not_replace_a_folder(parts, tmp_path):
    with pytest.raises(ExportError, match="one file"):
        export_as("text", tmp_path, **parts)


def test_no_file_of_text_for_a_task_without_one(parts, tmp_path):
    head = TokenHead(24, 5)
    initialise(head, 1)
    with pytest.raises(ExportError, match="token-cls"):
        export_as("text", tmp_path / "x.onnx", **{**parts, "head": head, "labels": ("PER", "LOC")})
    assert not list(tmp_path.glob("*.onnx"))


def test_the_command_writes_one_file_and_says_how_near_it_is(small_folder, tmp_path, capsys):
    module = hub.Module(directory=small_folder, task="seq-cls", labels=["a", "b", "c"])
    module.trained = True
    module.save(tmp_path / "run")
    command.export(tmp_path / "run", out=tmp_path / "out.onnx", form="text", top=2, as_json=True)
    facts = json.loads(capsys.readouterr().out)
    assert facts["files"] == {"out.onnx": (tmp_path / "out.onnx").stat().st_size}
    assert facts["text_graph"]["probabilities"] < 1e-5
    expected, (found,) = module.predict(["好"])[0], TextGraph(tmp_path / "out.onnx")(["好"])
    assert (found.label, len(found.top)) == (expected.label, 2)
    with pytest.raises(InputError, match="Say once"):
        command.export(tmp_path / "run", tmp_path / "a", out=tmp_path / "b")
    with pytest.raises(InputError, match="Say once"):
        command.export(tmp_path / "run")
