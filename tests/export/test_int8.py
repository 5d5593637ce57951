"""int8 behind its gate: what passes is what was measured, what does not leaves nothing, and the layers that harm are named."""

import json
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from nlphub.calibration import Calibration
from nlphub.data.batching import pad
from nlphub.data.examples import Examples
from nlphub.errors import DataError, ExportError, InputError, StoreError
from nlphub.export import gate, table
from nlphub.export.int8 import Int8, int8_rows
from nlphub.export.layers import Layered
from nlphub.export.onnx import ExportReport, export_artefact
from nlphub.export.reduced import Reduction
from nlphub.runtime.artefact import INPUTS
from nlphub.runtime.predictor import Predictor
from nlphub.runtime.textgraph import TextGraph
from nlphub.tasks.predictions import Prediction
from nlphub.tasks.values import ValuePrediction

BLOCK = ("query", "key_value", "out", "up", "down")


pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def plain(make: Callable[..., Any], traced: Path) -> Layered:
    return Layered.load(traced, make().parts["encoder"])


def inputs(lengths: tuple[int, ...] = (9, 3, 20)) -> dict[str, Any]:
    mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
    ids = np.random.default_rng(0).integers(5, 8000, mask.shape)
    return dict(zip(INPUTS, (ids, mask.astype(np.int64), np.zeros(mask.shape, np.int64)), strict=True))


def run(path: Path, given: dict[str, Any]) -> np.ndarray[Any, Any]:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(["logits"], given)[0]


def spoil(encoder: Any, layer: str, block: int = 0) -> None:
    """A column of numbers that fit no byte beside the others, for an input that is always 0: float32 does not notice."""
    part = encoder.blocks[block]
    if layer == "down":
        part.up.weight[0], part.up.bias[0] = 0, -1e4  # gelu(-1e4) is 0
        part.down.weight[:, 0] = 1e4
    if layer == "up":
        part.norm1.weight[0] = part.norm1.bias[0] = 0
        part.up.weight[:, 0] = 1e4


def spoil_all(encoder: Any) -> None:
    encoder.embeddings.norm.weight[0] = encoder.embeddings.norm.bias[0] = 0
    for block, part in enumerate(encoder.blocks):
        part.norm2.weight[0] = part.norm2.bias[0] = 0
        part.qkv.weight[:, 0] = 1e4
        width = encoder.config.width
        part.qkv.weight[2 * width], part.qkv.bias[2 * width] = 0, 0
        part.out.weight[:, 0] = 1e4
        for layer in ("up", "down"):
            spoil(encoder, layer, block)


def test_rows_of_a_table_are_those_of_the_slow_twin() -> None:
    values = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32) * np.logspace(-6, 6, 50, dtype=np.float32)[:, None]
    values[3] = 0
    rows, scales = int8_rows(values)
    for number, row in enumerate(values.tolist()):
        largest = max(abs(value) for value in row)
        assert scales[number, 0] == np.float32(np.float32(largest) / np.float32(127))
        for column, value in enumerate(row):
            assert rows[number, column] == (round(float(np.float32(value) / scales[number, 0])) if largest else 0)
    assert (np.abs(rows * scales - values) <= 0.501 * scales).all()


def test_layers_have_the_names_of_their_parameters(plain: Layered) -> None:
    tables = ["encoder.embeddings.word", "encoder.embeddings.position"]
    blocks = [f"encoder.blocks.{block}.{name}" for block in (0, 1) for name in BLOCK]
    assert [layer.name for layer in plain.layers] == [*tables, *(name for name in blocks if name != "encoder.blocks.1.key_value")]


@pytest.mark.parametrize("method", ["dynamic", "static"])
def test_a_graph_computes_the_named_layers_in_int8_and_no_others(plain: Layered, traced: Path, method: Any, tmp_path: Path) -> None:
    made, given = Int8.make(plain, method, [inputs(), inputs((40,))]), inputs()
    made.write(tmp_path / "none.onnx", ())
    made.write(tmp_path / "all.onnx", made.names)
    made.write(tmp_path / "one.onnx", {"encoder.blocks.1.up"})
    expected = run(traced, given)
    np.testing.assert_allclose(run(tmp_path / "none.onnx", given), expected, atol=1e-5)
    one, every = (np.abs(run(tmp_path / f"{name}.onnx", given) - expected).max() for name in ("one", "all"))
    assert 0 < one < every < 0.3
    kinds = {
        name: [tensor.data_type for tensor in onnx.load(tmp_path / f"{name}.onnx").graph.initializer] for name in ("none", "one", "all")
    }
    small = {name: sum(kind in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8) for kind in found) for name, found in kinds.items()}
    assert small["none"] == 0
    assert small["one"] >= 1  # and its zero points
    assert small["all"] >= 12
    onnx.checker.check_model(str(tmp_path / "all.onnx"), full_check=True)


def test_static_answers_do_not_depend_on_the_batch(plain: Layered, tmp_path: Path) -> None:
    Int8.make(plain, "static", [inputs((40, 10))]).write(tmp_path / "x.onnx", [layer.name for layer in plain.layers])
    together, alone = run(tmp_path / "x.onnx", inputs()), {name: value[1:2] for name, value in inputs().items()}
    np.testing.assert_allclose(run(tmp_path / "x.onnx", alone), together[1:2], atol=1e-5)


@pytest.fixture(scope="module")
def passed(make: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ExportReport]:
    made, folder = make(), tmp_path_factory.mktemp("passed") / "out"
    reduction = Reduction("auto", bound=7.0, fp16=True, dev=made.dev)
    return made, export_artefact(folder, **made.parts, calibration=Calibration(threshold=0.3), reduction=reduction)


def test_what_passes_is_served_as_it_was_measured(passed: Any) -> None:
    made, report = passed
    plain, small = Predictor(report.folder), Predictor(report.folder, precision="int8")
    facts = report.reduced["graphs"]["int8"]
    ours, theirs = plain(made.dev.texts), small(made.dev.texts)
    right = np.mean([answer.top[0][0] == label for answer, label in zip(theirs, made.dev.labels, strict=True)])
    assert facts["score"] == pytest.approx(right)
    assert report.reduced["graphs"]["fp32"]["score"] == 1.0  # the labels are its own answers
    assert facts["agreement"] == np.mean([a.top[0][0] == b.top[0][0] for a, b in zip(ours, theirs, strict=True)]) == facts["score"]
    assert facts["acceptance"] == np.mean([a.accepted == b.accepted for a, b in zip(ours, theirs, strict=True)])
    assert (facts["method"], facts["kept"]) == ("static", [])
    assert 0 < np.abs(plain.logits(made.dev.texts) - small.logits(made.dev.texts)).max() < 0.3
    # The Predictor says what onnxruntime says of the file.
    encoded, rows = made.parts["tokenizer"].encode(made.dev.texts), np.arange(4)
    given = dict(zip(INPUTS, pad(encoded, rows, pad_id=0), strict=True))
    np.testing.assert_allclose(run(report.folder / "onnx" / "model_int8.onnx", given), small.logits(made.dev.texts[:4]), atol=1e-5)
    assert pickle.loads(pickle.dumps(small)).logits(["转人工"]) == pytest.approx(small.logits(["转人工"]))
    half = Predictor(report.folder, precision="fp16")
    np.testing.assert_allclose(half.logits(made.dev.texts), plain.logits(made.dev.texts), atol=0.02)
    assert half.logits(["a"]).dtype == np.float32


def test_the_int8_text_graph_works_alone_and_holds_the_weights_of_the_other(passed: Any, tmp_path: Path) -> None:
    made, report = passed
    alone = Path(shutil.copy(report.folder / "onnx" / "model_text_int8.onnx", tmp_path / "alone.onnx"))
    expected = Predictor(report.folder, precision="int8")(made.dev.texts)
    for ours, theirs in zip(expected, TextGraph(alone)(made.dev.texts), strict=True):
        assert (ours.label, ours.accepted) == (theirs.label, theirs.accepted)
        assert ours.score == pytest.approx(theirs.score, abs=1e-4)
    sizes = report.files
    assert sizes["onnx/model_text_int8.onnx"] < 0.5 * sizes["onnx/model_text.onnx"]
    assert sizes["onnx/model.onnx"] < 0.2 * sizes["onnx/model_text.onnx"]
    copied = Path(shutil.copytree(report.folder, tmp_path / "copy"))
    changed = bytearray((copied / "onnx" / "model_text_int8.onnx").read_bytes())
    changed[-100] ^= 1
    (copied / "onnx" / "model_text_int8.onnx").write_bytes(changed)
    with pytest.raises(StoreError, match=r"model_text_int8\.onnx has changed"):
        Predictor(copied, precision="int8")
    assert Predictor(copied)(["转人工"])


def test_the_card_and_the_table_say_what_was_measured(passed: Any) -> None:
    _, report = passed
    cells = table.rows(report.reduced)
    assert [row[0] for row in cells] == ["fp32", "int8", "fp16"]
    assert all(len(row) == len(table.HEADER) for row in cells)
    assert f"| int8 | static | {cells[1][2]} |" in (report.folder / "README.md").read_text("utf-8")
    assert any("model_text_int8.onnx" in note for note in table.notes(report.reduced))


def test_the_layer_that_harms_is_found_and_left_in_float32(make: Callable[..., Any], tmp_path: Path) -> None:
    made = make(lambda encoder: spoil(encoder, "down"))
    report = export_artefact(tmp_path / "out", **made.parts, reduction=Reduction("dynamic", bound=4.0, dev=made.dev))
    found = report.reduced["graphs"]["int8"]
    assert "encoder.blocks.0.down" in found["kept"]
    assert len(found["kept"]) <= 2, "of eleven: what 7 bits cost a network of this size, and what harms"
    assert found["score"] > 0.95
    assert any("left in float32" in note and "blocks.0.down" in note for note in table.notes(report.reduced))
    held = {tensor.name: tensor.data_type for tensor in onnx.load(tmp_path / "out" / "onnx" / "model_int8.onnx").graph.initializer}
    assert onnx.TensorProto.INT8 in held.values()


def test_a_module_that_fails_is_refused_with_its_layers_and_leaves_nothing(make: Callable[..., Any], tmp_path: Path) -> None:
    made = make(spoil_all)
    with pytest.raises(ExportError, match="int8 loses too much, so nothing was written") as caught:
        export_artefact(tmp_path / "out", **made.parts, reduction=Reduction("auto", dev=made.dev))
    assert caught.value.exit_code == 1
    said = str(caught.value)
    assert "static, no layers left in float32" in said
    assert "dynamic, no layers" in said
    assert re.search(r"(static|dynamic), 4 layers", said)
    assert "encoder.blocks." in said.split("harm most")[1]
    assert "encoder.embeddings" not in said.split("harm most")[1].splitlines()[1]
    assert not list(tmp_path.iterdir())


def test_an_older_artefact_survives_a_refusal(make: Callable[..., Any], tmp_path: Path) -> None:
    made = make(spoil_all)
    export_artefact(tmp_path / "out", **made.parts)
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    with pytest.raises(ExportError):
        export_artefact(tmp_path / "out", **made.parts, reduction=Reduction("static", dev=made.dev))
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


def test_every_mistake_of_a_reduction_is_named_at_once(make: Callable[..., Any], tmp_path: Path) -> None:
    made = make()
    with pytest.raises(InputError, match="Did you mean 'static'") as caught:
        export_artefact(tmp_path / "out", **made.parts, reduction=Reduction("statik", bound=-1))
    assert len(caught.value.problems) == 3
    assert "--data dev.csv" in caught.value.problems[2]
    with pytest.raises(InputError, match="no development data"):
        export_artefact(tmp_path / "out", **made.parts, reduction=Reduction("auto", dev=Examples([])))
    with pytest.raises(DataError):
        export_artefact(tmp_path / "out", **made.parts, reduction=Reduction("auto", dev=Examples.of([("a", "nobody")])))
    assert not list(tmp_path.iterdir())


def test_agreement_and_acceptance_are_counted() -> None:
    def answer(label: str, accepted: bool = True) -> Prediction:
        return Prediction(label if accepted else None, 0.5, accepted, ((label, 0.5),))

    plain = [answer("a"), answer("b"), answer("c", False), answer("d")]
    found = [answer("a", False), answer("x"), answer("c"), answer("d")]
    assert gate.agreement(plain, found) == 0.75
    assert gate.acceptance(plain, found) == 0.5
    numbers = [ValuePrediction(1.0)]
    assert gate.agreement(numbers, numbers) is None
    assert gate.acceptance(numbers, numbers) is None


@pytest.mark.parametrize(("found", "bound", "holds"), [(0.9, 0.0, True), (0.895, 0.5, True), (0.8949, 0.5, False), (0.95, 0.0, True)])
def test_the_bound_is_in_points_and_counts_itself(found: float, bound: float, holds: bool) -> None:
    assert gate.passes(0.9, found, bound=bound) is holds


def test_a_precision_that_is_not_there_is_named_with_the_command(make: Callable[..., Any], tmp_path: Path) -> None:
    export_artefact(tmp_path / "out", **make().parts)
    with pytest.raises(InputError, match=r"no int8 graph, only fp32.*--int8 auto"):
        Predictor(tmp_path / "out", precision="int8")
    with pytest.raises(InputError, match="Did you mean 'int8'"):
        Predictor(tmp_path / "out", precision="int-8")
    path = tmp_path / "out" / "nlphub.json"
    facts = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(facts | {"weights_in": {"onnx/model.onnx": ["x"]}}), encoding="utf-8")
    with pytest.raises(StoreError, match="weights_in: expected a table of files"):
        Predictor(tmp_path / "out")


def test_float32_is_not_changed_by_spoiling(make: Callable[..., Any]) -> None:
    """What the tests above plant is invisible to float32: the traced graph with these weights passed its own proof there."""
    made = make(spoil_all)
    assert all(torch.isfinite(parameter).all() for parameter in made.parts["encoder"].parameters())
    assert len(set(made.dev.labels)) > 1
