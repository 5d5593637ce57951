"""Weights on disk once, single files, files for phones, and the command that makes them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from nlphub.cli import export as command
from nlphub.errors import ExportError, InputError, RecipeError
from nlphub.export.formats import export_as
from nlphub.export.sharing import aligned_bytes, share
from nlphub.recipe import load_recipe
from nlphub.runtime.predictor import Predictor
from nlphub.runtime.textgraph import TextGraph

pytestmark = pytest.mark.usefixtures("quick")


def tensors(content: bytes) -> dict[str, bytes]:
    return {tensor.name: tensor.raw_data for tensor in onnx.load_from_string(content).graph.initializer}


def test_large_constants_start_at_multiples_of_64_and_nothing_else_changes(traced: Path) -> None:
    before = tensors(traced.read_bytes())
    content = aligned_bytes(onnx.load(traced))
    assert tensors(content) == before
    large = [data for data in before.values() if len(data) >= 1024]
    assert len(large) >= 8
    assert all(content.index(data) % 64 == 0 for data in large)
    assert aligned_bytes(onnx.load_from_string(content)) == content


def test_a_graph_that_shares_gives_the_same_numbers_from_its_folder(traced: Path, tmp_path: Path) -> None:
    (tmp_path / "whole.onnx").write_bytes(aligned_bytes(onnx.load(traced)))
    (tmp_path / "ids.onnx").write_bytes(traced.read_bytes())
    shared = share(tmp_path / "ids.onnx", tmp_path / "whole.onnx")
    assert (tmp_path / "ids.onnx").stat().st_size < traced.stat().st_size - 0.95 * shared
    onnx.checker.check_model(str(tmp_path / "ids.onnx"), full_check=True)
    ones = np.ones((2, 5), np.int64)
    given = {"input_ids": 7 * ones, "attention_mask": ones, "token_type_ids": 0 * ones}
    ours, theirs = (onnxruntime.InferenceSession(str(path)).run(None, given)[0] for path in (traced, tmp_path / "ids.onnx"))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("form", "int8"), [("text", "none"), ("ids", "static")])
def test_one_file_holds_all_of_its_weights(make: Callable[..., Any], tmp_path: Path, form: str, int8: str) -> None:
    made = make()
    export_as("onnx", tmp_path / "dist", **made.parts, int8=int8, int8_bound=7, dev=made.dev)
    export_as(form, tmp_path / "one.onnx", **made.parts, int8=int8, int8_bound=7, dev=made.dev)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dist", "one.onnx"]
    if form == "text":
        assert TextGraph(tmp_path / "one.onnx")(["转人工"]) == TextGraph(tmp_path / "dist" / "onnx" / "model_text.onnx")(["转人工"])
    else:
        ids = np.array([made.parts["tokenizer"].encode(["转人工"]).ids])
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        found = onnxruntime.InferenceSession(str(tmp_path / "one.onnx")).run(["logits"], given)[0]
        np.testing.assert_allclose(found, Predictor(tmp_path / "dist", precision="int8").logits(["转人工"]), atol=1e-6)


def test_files_for_phones_answer_alike_and_list_their_operators(make: Callable[..., Any], tmp_path: Path) -> None:
    made = make()
    report = export_as("ort", tmp_path / "phone", **made.parts, int8="static", int8_bound=7, dev=made.dev)
    names = ("model.ort", "model.required_operators.config", "model_text.ort", "model_text.required_operators.config")
    assert sorted(report.files) == sorted(path.name for path in (tmp_path / "phone").iterdir()) == sorted(names)
    ids, text = ((tmp_path / "phone" / names[number]).read_text("utf-8") for number in (1, 3))
    assert "ai.onnx;" in ids
    assert "Tokenizer" not in ids
    assert "Tokenizer" in text
    assert str(tmp_path) not in ids + text
    assert "tmp" not in ids + text
    assert TextGraph(tmp_path / "phone" / "model_text.ort")(["转人工"])[0].top
    export_as("ort", tmp_path / "phone", **made.parts)  # an earlier one is replaced
    assert (tmp_path / "phone" / "model.ort").stat().st_size > report.files["model.ort"]
    (tmp_path / "phone" / "mine.txt").touch()
    with pytest.raises(ExportError, match=r"mine\.txt"):
        export_as("ort", tmp_path / "phone", **made.parts)


@pytest.mark.parametrize(("form", "options"), [("transformers", {"int8": "auto"}), ("text", {"fp16": True})])
def test_forms_without_such_a_precision_say_so(make: Callable[..., Any], tmp_path: Path, form: str, options: dict[str, Any]) -> None:
    made = make()
    with pytest.raises(InputError, match="the artefact, --format onnx, has both"):
        export_as(form, tmp_path / "x", **made.parts, dev=made.dev, **options)


def test_a_recipe_asks_for_int8_only_where_there_is_a_dev_set() -> None:
    assert load_recipe("intent", ["export.int8=auto"]).export.smaller
    with pytest.raises(RecipeError, match="need a dev set"):
        load_recipe("intent", ["export.int8=auto", "data.split={}", "calibration.aim=null"])
    with pytest.raises(RecipeError, match="int8_bound"):
        load_recipe("intent", ["export.int8_bound=-1"])


def test_old_recipes_keep_their_digest() -> None:
    plain = load_recipe("intent")
    assert plain.export.decisive() == {"folder": "dist/intent"}
    assert load_recipe("intent", ["export.fp16=true"]).digest() != plain.digest()


def test_the_command_reads_data_prints_a_table_and_refuses_without_any(
    small_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import nlphub as hub

    module = hub.Module(directory=small_folder, task="seq-cls", labels=["a", "b"])
    module.trained = True
    module.save(tmp_path / "run")
    texts = ["退货", "转人工", "快递", "发票"]
    rows = [f"{text},{answer.top[0][0]}" for text, answer in zip(texts, module.predict(texts), strict=True)]
    (tmp_path / "dev.csv").write_text("\n".join(["问题,意图", *rows]), encoding="utf-8")
    with pytest.raises(InputError, match="--data"):
        command.export(tmp_path / "run", tmp_path / "out", int8="static")
    options: dict[str, Any] = {"int8": "static", "int8_bound": 50.0, "data": str(tmp_path / "dev.csv"), "text": "问题", "label": "意图"}
    command.export(tmp_path / "run", tmp_path / "out", **options)
    said = capsys.readouterr().out
    assert "int8" in said
    assert "one file, strings in, answers out, int8: onnx/model_text_int8.onnx" in said
    facts = json.loads((tmp_path / "out" / "nlphub.json").read_text("utf-8"))
    assert facts["reduced"]["graphs"]["int8"]["method"] == "static"
    assert facts["reduced"]["examples"] == 4
