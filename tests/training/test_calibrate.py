"""Calibration of trained modules and of whole runs: believable, the same on every route, and honest about what it cannot promise."""

import csv
import json
import logging
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import nlphub as hub
from nlphub.calibration import REFERENCES
from nlphub.cli.app import app
from nlphub.errors import DataError, InputError, RecipeError

STRANGE = ["今天天气真好", "讲个笑话", "你是谁", "股票涨了吗", "明天下雨吗", "放首歌"]


@pytest.fixture
def trained(examples: hub.Examples, small_folder: Path) -> hub.Module:
    module = hub.Module(directory=small_folder, task="seq-cls", labels=("余额", "转账", "挂失"))
    hub.Trainer(module, settings=hub.TrainSettings(epochs=6, batch_size=8, learning_rate=3e-3), progress=False).train(examples)
    return module


def test_a_calibrated_module_rejects_as_it_was_asked_to(trained: hub.Module, examples: hub.Examples) -> None:
    report = hub.calibrate(trained, examples, aim={"coverage": 0.5}, confidence="probability")
    assert trained.calibration is report.calibration
    accepted = [answer.accepted for answer in trained.predict(examples.texts)]
    assert np.mean(accepted) == pytest.approx(report.dev.coverage) == pytest.approx(0.5, abs=0.03)
    assert json.loads(json.dumps(report.as_dict()))["aim"] == {"coverage": 0.5}


def test_prototypes_are_calibrated_on_their_own_examples_too(examples: hub.Examples, small_folder: Path) -> None:
    rows = [examples[row] for row in range(len(examples))]
    train, dev = hub.Examples(rows[::2]), hub.Examples(rows[1::2])
    module = hub.Module(directory=small_folder, task="seq-cls", labels=train.label_names)
    hub.Trainer(module, settings=hub.TrainSettings(method="prototype"), progress=False).train(train)
    report = hub.calibrate(module, dev, aim={"coverage": 0.5}, confidence="probability")
    assert report.left_out == report.as_dict()["left_out"] == len(train)
    seen = np.mean([answer.accepted for answer in module.predict(train.texts)])
    assert seen > 0.5 + 1 / len(train), "answers to what it has seen are surer than those that the threshold was chosen on"


@pytest.mark.parametrize("confidence", ["probability", "energy", "neighbours"])
def test_module_saved_module_and_artefact_accept_alike(
    trained: hub.Module, examples: hub.Examples, tmp_path: Path, confidence: str
) -> None:
    hub.calibrate(trained, examples, aim={"rejection": 0.6}, confidence=confidence, train=examples, out_of_scope=STRANGE)
    trained.save(tmp_path / "saved")
    trained.save(tmp_path / "saved")  # its own files are replaced without a question
    trained.export(tmp_path / "artefact")
    texts = [*STRANGE, *examples.texts[:12]]
    here, there, served = (
        [(answer.label, answer.accepted, answer.top[0][0]) for answer in route(texts)]
        for route in (trained.predict, hub.Module(directory=tmp_path / "saved").predict, hub.Predictor(tmp_path / "artefact"))
    )
    assert here == there == served
    assert {accepted for _, accepted, _ in here} == {True, False}
    assert (tmp_path / "artefact" / REFERENCES).exists() == (tmp_path / "saved" / REFERENCES).exists() == (confidence == "neighbours")


def test_an_artefact_whose_references_were_changed_is_refused(trained: hub.Module, examples: hub.Examples, tmp_path: Path) -> None:
    hub.calibrate(trained, examples, confidence="neighbours", train=examples)
    trained.export(tmp_path / "artefact")
    (tmp_path / "artefact" / REFERENCES).write_bytes(b"other")
    with pytest.raises(hub.NlphubError, match=f"{REFERENCES} has changed"):
        hub.Predictor(tmp_path / "artefact")


def test_what_cannot_be_promised_is_said(trained: hub.Module, examples: hub.Examples, caplog: pytest.LogCaptureFixture) -> None:
    few = hub.Examples.of([examples[0], examples[20], examples[40]])
    report = hub.calibrate(trained, few, aim={"precision": 0.95})
    assert report.missed == ("all labels",)
    assert "precision >= 0.95 cannot be promised on this dev set for all labels" in caplog.text


def test_wishes_and_modules_that_do_not_fit_are_refused(small_folder: Path, trained: hub.Module, examples: hub.Examples) -> None:
    with pytest.raises(InputError, match="this one is untrained"):
        hub.calibrate(hub.Module(directory=small_folder, task="seq-cls", num_classes=2), examples)
    with pytest.raises(InputError, match="give one of precision, coverage, rejection"):
        hub.calibrate(trained, examples, aim={"precision": 0.9, "coverage": 0.9})
    with pytest.raises(InputError, match="an aim is"):
        hub.calibrate(trained, examples, aim={"recall": 0.9})
    with pytest.raises(DataError, match="那是什么"):
        hub.calibrate(trained, [("卡丢了", "那是什么")])


@pytest.fixture
def desk(rows: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with training, test and out-of-scope data."""
    monkeypatch.chdir(tmp_path)
    for name, content in (("train", rows), ("test", rows), ("outside", [(text, "") for text in STRANGE])):
        with (tmp_path / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([("text", "label"), *content])
    return tmp_path


def test_a_run_is_calibrated_on_dev_and_judged_on_test(desk: Path, small_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = ["data.train=train.csv", "data.test=test.csv", "data.split={dev: 0.5}", "calibration.out_of_scope=outside.csv"]
    module = ["module.name=null", f"module.directory={small_folder}", "train.epochs=4", "train.batch_size=8", "train.learning_rate=3e-3"]
    with caplog.at_level(logging.ERROR):
        result = CliRunner().invoke(app, ["finetune", "intent", *module, *data, "calibration.aim={coverage: 0.8}"])
    assert result.exit_code == 0, result.output
    assert "coverage >= 0.8 by " in result.stdout
    assert "of 3 out-of-scope texts rejected" in result.stdout
    facts = json.loads((desk / "runs" / "intent" / "report" / "calibration.json").read_text("utf-8"))
    assert facts["test"]["examples"] == 48
    assert facts["dev"]["out_of_scope"] == 3
    kept = hub.Module(directory=desk / "runs" / "intent").calibration
    assert kept.as_dict() == facts["calibration"] == hub.Predictor(desk / "dist" / "intent").artefact.calibration.as_dict()
    assert kept.temperature != 1.0


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("calibration.aim={recall: 0.9}", "calibration.aim"),
        ("calibration.aim={precision: 0.9, coverage: 0.9}", "calibration.aim"),
        ("calibration.aim={rejection: 0.9}", "needs out_of_scope"),
        ("data.split={}", "needs a dev set"),
        ("calibration.confidence=gut", "calibration.confidence"),
    ],
)
def test_recipes_that_contradict_themselves_are_refused(desk: Path, override: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        hub.load_recipe("intent", [override])
