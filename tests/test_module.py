"""``hub.Module``: PaddleHub's arguments, one text to one prediction, saving and opening again, and what it refuses."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest

import nlphub as hub
from nlphub.data.batching import pack
from nlphub.errors import InputError, UnknownNameError, WeightsError
from nlphub.nn.encoder import to_tensors


@pytest.fixture
def module(small_folder: Path) -> hub.Module:
    return hub.Module(directory=small_folder, task="seq-cls", labels=["查物流", "退货", "转人工"])


def test_paddlehubs_two_lines_work(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        module = hub.Module(name="ernie_tiny", task="seq-cls", num_classes=10)
    hub.Trainer(module)
    assert module.labels == tuple("0123456789")
    assert ("RANDOM" in caplog.text) == ("initial_seed" in module.config), "weights that nobody trained are announced"
    assert sum(parameter.numel() for parameter in module.encoder.parameters()) == hub.find_module("ernie_tiny").parameters


def test_the_random_weights_are_always_the_same() -> None:
    from nlphub.checkpoints.native import weights_digest

    digests = {weights_digest(hub.Module(name=name).encoder) for name in ("ernie_tiny", "ernie-tiny")}
    assert len(digests) == 1


def test_labels_have_three_forms(small_folder: Path) -> None:
    for form in ({"labels": ["甲", "乙"]}, {"label_map": {1: "乙", 0: "甲"}}, {"labels": ("甲", "乙"), "num_classes": 2}):
        assert hub.Module(directory=small_folder, task="seq-cls", **form).labels == ("甲", "乙")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either a name"),
        ({"name": "ernie_tiny", "directory": "x"}, "either a name"),
        ({"name": "ernie_tiny", "task": "seq-cls"}, "needs labels"),
        ({"name": "ernie_tiny", "labels": ["甲", "乙"]}, "need a task"),
        ({"name": "ernie_tiny", "task": "seq-cls", "labels": ["甲", "乙"], "num_classes": 3}, "contradicts"),
        ({"name": "ernie_tiny", "task": "seq-cls", "labels": ["甲", "乙"], "label_map": {0: "甲"}}, "not both"),
        ({"name": "ernie_tiny", "task": "seq-cls", "label_map": {1: "甲", 2: "乙"}}, "number its labels 0 to 1"),
        ({"name": "ernie_tiny", "task": "seq-cls", "labels": ["甲"]}, "at least two"),
        ({"name": "ernie_tiny", "task": "seq-cls", "labels": "甲乙"}, "at least two"),
        ({"name": "ernie_tiny", "task": "seq-cls", "labels": ["甲", "甲"]}, "repeated"),
        ({"name": "ernie_tiny", "task": "seq-cls", "labels": ["甲", " "]}, "non-empty"),
        ({"name": "ernie_tiny", "task": "seq-cls", "num_classes": 2, "max_length": 9999}, "max_length"),
        ({"directory": "nowhere"}, "no config.json"),
    ],
    ids=str,
)
def test_contradictions_are_refused_with_the_rule(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        hub.Module(**arguments)


def test_unknown_names_versions_and_tasks_are_answered_with_what_there_is(small_folder: Path) -> None:
    with pytest.raises(UnknownNameError, match="ernie_tiny"):
        hub.Module(name="ernie_tinny")
    with pytest.raises(UnknownNameError, match=hub.find_module("ernie_tiny").version):
        hub.Module(name="ernie_tiny", version=">=7")
    with pytest.raises(UnknownNameError, match="seq-cls"):
        hub.Module(directory=small_folder, task="seq-clss", num_classes=2)
    assert hub.Module(name="ernie_tiny", version=">=0.1").config["architecture"] == "ernie_tiny"


def test_a_deprecated_task_name_works_with_a_warning(small_folder: Path) -> None:
    with pytest.warns(DeprecationWarning, match="seq-cls"):
        module = hub.Module(directory=small_folder, task="sequence_classification", num_classes=2)
    assert module.task == "seq-cls"


def test_predictions_keep_the_callers_order_and_do_not_depend_on_batch_mates(module: hub.Module) -> None:
    texts = ["转人工", "", "快递" * 300, "我要退这双鞋", "快递到哪了" * 7, "退"]
    together = module.logits(texts)
    alone = np.concatenate([module.logits([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert [answer.score for answer in module.predict(texts)] == pytest.approx([module.predict(text)[0].score for text in texts], abs=1e-6)


def test_predictions_come_with_ranked_probabilities(module: hub.Module) -> None:
    (answer,) = module.predict([["转人工"]], top_k=3)  # PaddleHub's list of lists
    assert answer.accepted
    assert answer.top[0] == (answer.label, answer.score)
    assert [score for _, score in answer.top] == sorted((score for _, score in answer.top), reverse=True)
    assert sum(score for _, score in answer.top) == pytest.approx(1.0)
    assert module.predict([]) == []
    with pytest.raises(InputError, match="top_k"):
        module.predict("好", top_k=0)


def test_an_untrained_head_is_announced(module: hub.Module, caplog: pytest.LogCaptureFixture) -> None:
    module.predict(["转人工"])
    assert "untrained" in caplog.text


def test_texts_that_are_no_strings_are_named(module: hub.Module) -> None:
    with pytest.raises(InputError, match="NoneType"):
        module.predict(["好", None])


def test_sentence_vectors_follow_their_texts(module: hub.Module) -> None:
    texts = ["转人工", "我要退这双鞋", "转人工"]
    for pooling, width in (("mean", 32), ("cls", 32), ("first-last", 64)):
        vectors = module.encode(texts, pooling=pooling)
        assert vectors.shape == (3, width)
        np.testing.assert_allclose(vectors[0], vectors[2], atol=1e-6)
        assert np.abs(vectors[0] - vectors[1]).max() > 1e-3
    both, last = module.encode(texts, pooling="first-last"), module.encode(texts)
    np.testing.assert_array_equal(both[:, 32:], last)
    packed = to_tensors(pack(module.tokenize(texts), np.array([1])), module.device)
    np.testing.assert_allclose(both[1, :32], module.encoder.embeddings(packed).mean(0).detach().numpy(), atol=1e-6)
    with pytest.raises(InputError, match="none of"):
        module.encode(texts, pooling="max")


def test_a_module_without_a_head_says_how_to_get_one(small_folder: Path) -> None:
    module = hub.Module(directory=small_folder)
    assert module.encode(["好"]).shape == (1, 32)
    with pytest.raises(InputError, match="no task head"):
        module.predict(["好"])
    with pytest.raises(InputError, match="no task head"):
        module.export("dist")


def test_a_saved_module_opens_as_it_was(module: hub.Module, tmp_path: Path) -> None:
    module.max_length = 16
    module.save(tmp_path / "saved")
    again = hub.Module(directory=tmp_path / "saved")
    assert (again.task, again.labels, again.max_length, again.trained) == ("seq-cls", module.labels, 16, True)
    texts = ["转人工", "我要退这双鞋" * 9]
    np.testing.assert_array_equal(again.logits(texts), module.logits(texts))
    again.save(tmp_path / "saved")  # over itself


def test_other_labels_get_a_new_head_on_the_saved_encoder(module: hub.Module, tmp_path: Path) -> None:
    module.save(tmp_path)
    other = hub.Module(directory=tmp_path, task="seq-cls", labels=["是", "否"])
    assert not other.trained
    np.testing.assert_array_equal(other.encode(["好"]), module.encode(["好"]))


def test_saving_leaves_foreign_folders_alone(module: hub.Module, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="left alone"):
        module.save(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "precious"
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "thesis.txt").unlink()
    with pytest.raises(InputError, match="another program"):
        module.save(tmp_path)
    module.save(tmp_path / "saved")
    (tmp_path / "saved" / "notes.md").write_text("precious")
    with pytest.raises(InputError, match=r"notes\.md"):
        module.save(tmp_path / "saved")


def test_load_checkpoint_replaces_the_weights_or_fails(module: hub.Module, small_folder: Path, tmp_path: Path) -> None:
    module.save(tmp_path / "saved")
    loaded = hub.Module(directory=small_folder, task="seq-cls", labels=module.labels, seed=5, load_checkpoint=tmp_path / "saved")
    np.testing.assert_array_equal(loaded.logits(["好"]), module.logits(["好"]))
    adopted = hub.Module(directory=small_folder, load_checkpoint=tmp_path / "saved")
    assert (adopted.labels, adopted.trained) == (module.labels, True)
    with pytest.raises(InputError, match="no module"):
        hub.Module(directory=small_folder, load_checkpoint=tmp_path / "missing")


def test_a_checkpoint_with_other_labels_or_another_tokenizer_is_refused(module: hub.Module, small_folder: Path, tmp_path: Path) -> None:
    module.save(tmp_path)
    with pytest.raises(WeightsError, match="Leave out task and labels"):
        hub.Module(directory=small_folder, task="seq-cls", labels=module.labels[::-1], load_checkpoint=tmp_path)
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    config["tokenizer"]["digest"] = "0" * 64
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(WeightsError, match="tokenizer"):
        hub.Module(directory=small_folder, load_checkpoint=tmp_path)


def test_calibration_is_saved_exported_and_applied_alike(module: hub.Module, tmp_path: Path) -> None:
    from nlphub.calibration import Calibration

    module.calibration = Calibration(temperature=2.0, threshold=0.9)
    module.save(tmp_path / "saved")
    module.export(tmp_path / "artefact")
    again, predictor = hub.Module(directory=tmp_path / "saved"), hub.Predictor(tmp_path / "artefact")
    (here,), (there,), (served,) = module.predict("退货"), again.predict("退货"), predictor("退货")
    assert here == there
    assert here.label is served.label is None, "rejected, with the best label still on top"
    assert here.top[0][0] == served.top[0][0]
    assert here.score == pytest.approx(served.score, abs=1e-6)


def test_a_new_head_is_not_calibrated_and_a_wrong_calibration_is_refused(module: hub.Module, tmp_path: Path) -> None:
    from nlphub.calibration import Calibration

    module.calibration = Calibration(temperature=2.0, threshold=0.9)
    module.save(tmp_path)
    assert hub.Module(directory=tmp_path, task="seq-cls", num_classes=2).calibration == Calibration()
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    (tmp_path / "config.json").write_text(json.dumps({**config, "calibration": {"temperature": 0.0}}), "utf-8")
    with pytest.raises(InputError, match="a number above 0"):
        hub.Module(directory=tmp_path)


def test_a_checkpoint_without_a_head_brings_its_encoder_only(module: hub.Module, small_folder: Path, tmp_path: Path) -> None:
    hub.Module(directory=small_folder).save(tmp_path)
    loaded = hub.Module(directory=small_folder, task="seq-cls", num_classes=2, load_checkpoint=tmp_path)
    assert not loaded.trained
    np.testing.assert_array_equal(loaded.encode("好"), module.encode("好"))


def test_a_masked_language_head_takes_the_vocabulary_and_asks_for_masks(small_folder: Path) -> None:
    module = hub.Module(directory=small_folder, task="mlm")
    assert module.labels == module.tokenizer.vocabulary
    with pytest.raises(InputError, match=r"has no \[MASK\]"):
        module.predict("好")


def test_where_a_module_came_from_is_saved_with_it(tmp_path: Path) -> None:
    hub.Module(name="ernie_tiny").save(tmp_path / "saved")
    base = {"name": "ernie_tiny", "version": hub.find_module("ernie_tiny").version, "licence": "Apache-2.0"}
    assert hub.Module(directory=tmp_path / "saved").config["base"] == base


def test_baidus_checkpoint_of_the_same_name_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "model_state.pdparams").write_bytes(b"\x80\x04}.")
    with pytest.raises(WeightsError, match="ernie_tiny_baidu"):
        hub.Module(name="ernie_tiny", load_checkpoint=tmp_path / "model_state.pdparams")


def test_a_tokenizer_that_the_weights_do_not_know_is_refused(module: hub.Module, tmp_path: Path) -> None:
    module.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    config["tokenizer"]["digest"] = "0" * 64
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(WeightsError, match="tokenizer"):
        hub.Module(directory=tmp_path)


def test_full_width_case_and_traditional_variants_score_the_same(module: hub.Module) -> None:
    one, other = module.logits(["我的订单号ABC12还没到", "我的訂單號ａｂｃ１２還沒到"])
    np.testing.assert_array_equal(one, other)


def test_printing_a_module_tells_what_it_is(module: hub.Module) -> None:
    text = repr(module)
    assert "ernie_tiny" in text
    assert "seq-cls" in text
    assert "route" in text
