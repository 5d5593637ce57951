"""The Predictor: same answers as torch, the caller's order, clear refusals."""

import copy
import json
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from nlphub.data.batching import pack
from nlphub.errors import ExportError, InputError, StoreError, WeightsError
from nlphub.export.onnx import export_artefact
from nlphub.files import sha256
from nlphub.nn.encoder import to_tensors
from nlphub.runtime.predictor import Predictor

TEXTS = ["我要退这双鞋", "", "转人工", "物流" * 400, "a", "查一下我的快递到哪里了", "😀", "ABC 123", "我要退这双鞋"]


@pytest.fixture(scope="module")
def predictor(exported):
    return Predictor(exported, threads=1)


def test_logits_equal_those_of_torch(parts, predictor):
    encoded = parts["tokenizer"].encode(TEXTS)
    with torch.inference_mode():
        expected = parts["head"](parts["encoder"](to_tensors(pack(encoded, np.arange(len(TEXTS)))), rows="cls"))
    np.testing.assert_allclose(predictor.logits(TEXTS), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("batch_tokens", [1, 20, 600, 100_000])
def test_order_and_answers_do_not_depend_on_the_batches(predictor, batch_tokens):
    one_by_one = np.concatenate([predictor.logits([text]) for text in TEXTS])
    np.testing.assert_allclose(predictor.logits(TEXTS, batch_tokens=batch_tokens), one_by_one, atol=1e-5)


def test_a_prediction_names_labels_best_first(parts, predictor):
    (answer,) = predictor(["我要退这双鞋"])
    assert {name for name, _ in answer.top} == set(parts["labels"])
    assert answer.label == answer.top[0][0]
    assert answer.accepted
    assert sum(score for _, score in answer.top) == pytest.approx(1.0)
    assert [len(answer.top) for answer in predictor(TEXTS, top_k=2)] == [2] * len(TEXTS)


def test_one_string_is_a_list_of_one(predictor):
    assert predictor("转人工") == predictor(["转人工"])
    assert predictor([]) == []
    assert predictor.logits([]).shape == (0, 4)


def test_calibration_comes_from_the_folder(copied):
    plain = Predictor(copied)(["转人工"])[0]
    facts = json.loads((copied / "nlphub.json").read_text(encoding="utf-8"))
    (copied / "nlphub.json").write_text(json.dumps({**facts, "calibration": {"temperature": 4.0, "threshold": 0.9}}), encoding="utf-8")
    answer = Predictor(copied)(["转人工"])[0]
    assert answer.label is None
    assert not answer.accepted
    assert answer.score < plain.score
    assert [name for name, _ in answer.top] == [name for name, _ in plain.top]


def test_texts_are_cut_where_the_module_cut_them(parts, copied):
    path = copied / "nlphub.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    assert facts["max_length"] == 512
    path.write_text(json.dumps({**facts, "max_length": 5}), encoding="utf-8")
    short = Predictor(copied)
    np.testing.assert_array_equal(short.logits(["我要退这双鞋"]), short.logits(["我要退"]))


@pytest.mark.parametrize("texts", [[1], ["a", None], [b"a"], None, 3], ids=str)
def test_what_is_no_text_is_refused(predictor, texts):
    with pytest.raises(InputError):
        predictor(texts)


@pytest.mark.parametrize("options", [{"top_k": 0}, {"batch_tokens": 0}], ids=str)
def test_numbers_have_to_be_positive(predictor, options):
    with pytest.raises(InputError, match="at least 1"):
        predictor(["a"], **options)


@pytest.mark.parametrize("threads", [0, -1, 1.5, True])
def test_threads_are_a_positive_whole_number(exported, threads):
    with pytest.raises(InputError, match="threads="):
        Predictor(exported, threads=threads)


@pytest.mark.parametrize("name", ["onnx/model.onnx", "vocab.txt", "folds.tsv", "config.json"])
def test_one_changed_byte_is_found_in_every_file(copied, name):
    content = bytearray((copied / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(StoreError, match=rf"{name} has changed(.|\n)*[Ee]xport"):
        Predictor(copied)


def test_missing_files_are_all_named(copied):
    for name in ("vocab.txt", "onnx/model.onnx"):
        (copied / name).unlink()
    with pytest.raises(StoreError) as caught:
        Predictor(copied)
    assert "vocab.txt is missing" in str(caught.value)
    assert "onnx/model.onnx is missing" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 4}, "pip install -U nlphub"),
        ({"schema": 2}, r"from an older nlphub(.|\n)*Export it again"),
        ({"schema": "1"}, "no 'schema'"),
        ({"labels": []}, "labels: expected"),
        ({"labels": "ab"}, "labels: expected"),
        ({"calibration": {"temperature": 0}}, "temperature: expected"),
        ({"calibration": {"temperature": True}}, "temperature: expected"),
        ({"calibration": {"temperature": float("inf")}}, "temperature: expected"),
        ({"calibration": {"threshold": 1.5}}, "threshold: expected"),
        ({"max_length": 2}, "max_length: expected"),
        ({"task": None}, "task: expected"),
        ({"tokenizer": None}, "tokenizer: expected"),
        ({"files": {}}, r"onnx/model\.onnx is not among them"),
        ({"files": [1]}, "files: expected"),
        ({"files": {"onnx/model.onnx": {"sha256": "0"}, "../../etc/passwd": {"sha256": "0"}}}, "leaves the folder"),
        ({"files": {"onnx/model.onnx": {"sha256": "0"}, "/etc/passwd": {"sha256": "0"}}}, "leaves the folder"),
    ],
    ids=str,
)
def test_wrong_facts_are_refused_by_name(copied, change, message):
    path = copied / "nlphub.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **change}), encoding="utf-8")
    with pytest.raises(StoreError, match=message):
        Predictor(copied)


def test_several_wrong_facts_are_reported_at_once(copied):
    path = copied / "nlphub.json"
    facts = {**json.loads(path.read_text(encoding="utf-8")), "labels": [], "calibration": {"threshold": -1}}
    path.write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(StoreError, match=r"labels: (.|\n)*threshold: "):
        Predictor(copied)


def test_a_folder_that_is_no_artefact_says_how_to_make_one(tmp_path):
    with pytest.raises(StoreError, match="nlphub export"):
        Predictor(tmp_path)
    (tmp_path / "nlphub.json").write_text("{", encoding="utf-8")
    with pytest.raises(StoreError, match="not valid JSON"):
        Predictor(tmp_path)


def test_a_graph_that_onnxruntime_cannot_read_is_a_clear_error(copied):
    (copied / "onnx" / "model.onnx").write_bytes(b"no graph")
    path = copied / "nlphub.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    facts["files"]["onnx/model.onnx"]["sha256"] = sha256(copied / "onnx" / "model.onnx")
    path.write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(StoreError, match="cannot run"):
        Predictor(copied)


def test_another_tokenizer_is_refused(copied):
    path = copied / "nlphub.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**facts, "tokenizer": {"digest": "0" * 64}}), encoding="utf-8")
    with pytest.raises(WeightsError, match="not the one that the weights were made with"):
        Predictor(copied)


def test_predicting_loads_no_torch(exported):
    code = (
        "import sys, nlphub\n"
        f"print(nlphub.Predictor({str(exported)!r})(['转人工'])[0].label)\n"
        "heavy = {'torch', 'datasets', 'jieba', 'transformers', 'onnx'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, encoding="utf-8", env={**os.environ, "PYTHONUTF8": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_it_can_be_copied_pickled_and_used_by_threads(predictor):
    texts = ["转人工", "退货", "快递到哪了"]
    expected = predictor.logits(texts)
    for other in (copy.deepcopy(predictor), pickle.loads(pickle.dumps(predictor))):
        np.testing.assert_array_equal(other.logits(texts), expected)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(predictor.logits, [texts] * 16):
            np.testing.assert_array_equal(found, expected)


def test_onnxruntime_neither_sends_nor_keeps_usage_data(exported, tmp_path):
    code = f"import nlphub; nlphub.Predictor({str(exported)!r})(['好'])"
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert list(tmp_path.rglob("*")) == []


def test_the_card_may_be_edited_and_foreign_files_are_never_replaced(copied, parts):
    (copied / "README.md").write_text("notes of mine")
    Predictor(copied)
    (copied / "app.py").write_text("precious")
    with pytest.raises(ExportError, match=r"app\.py"):
        export_artefact(copied, **parts)


def test_a_pickle_of_a_folder_that_was_replaced_is_refused(copied):
    pickled = pickle.dumps(Predictor(copied, threads=1))
    assert pickle.loads(pickled)("好")
    path = copied / "nlphub.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), "max_length": 9}), encoding="utf-8")
    with pytest.raises(StoreError, match="another artefact"):
        pickle.loads(pickled)
