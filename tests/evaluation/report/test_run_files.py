"""What is read from a run's folder: whole, or refused with the name of what is wrong."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nlphub.errors import DataError, InputError
from nlphub.evaluation.report.judged import read_judged, write_judged
from nlphub.evaluation.report.run_files import read_run
from nlphub.files import publish_json, publish_text


def test_a_run_is_read_back_as_it_was_written(make_run: Callable[..., Path]) -> None:
    run = read_run(make_run())
    metrics = run.scores.classification() if run.scores else None
    assert metrics is not None
    raw = json.loads((make_run() / "report" / "metrics.json").read_text("utf-8"))
    assert {"judged_on": "test", **metrics.as_dict()} == raw
    assert metrics.accuracy == pytest.approx(np.mean([row.right for row in run.judged]))
    assert list(run.data.words) == sorted(metrics.labels)
    assert run.suspects == ()
    assert run.robustness is None


@pytest.mark.parametrize("text", ["卡丢了\n怎么办", "\ud800", "", "\u2028 \x00 \u202e", '"quoted" \\'])
def test_judged_texts_come_back_to_the_character(text: str, make_run: Callable[..., Path], tmp_path: Path) -> None:
    from dataclasses import replace

    rows = read_judged(make_run() / "report" / "judged.jsonl")
    changed = (replace(rows[0], text=text), replace(rows[1], pair=text), *rows[2:])
    write_judged(tmp_path / "again.jsonl", changed)
    assert read_judged(tmp_path / "again.jsonl") == changed


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run of"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("report/metrics.json", "{", "not JSON"),
        ("report/metrics.json", '{"judged_on": 3}', "judged_on"),
        ("report/metrics.json", "[]", "metrics.json"),
        ("report/calibration.json", '{"aim": null}', "calibration"),
        ("report/data.json", '{"splits": {"train": {"rows": "many"}}}', "splits.train"),
        ("report/robustness.json", '{"texts": 1}', "perturbations"),
        ("report/judged.jsonl", '{"text": "a"}\nnonsense\n', "line 2: not JSON"),
        ("report/judged.jsonl", "", "empty"),
        ("report/judged.jsonl", '{"text":"a","label":"b","top":[["b",2]],"truth":0.5,"confidence":0.5,"accepted":true}\n', "probabilities"),
        ("report/judged.jsonl", '{"text":"a","label":"b","top":[],"truth":NaN,"confidence":0.5,"accepted":true}\n', "truth"),
        (
            "report/judged.jsonl",
            '{"text":"a","label":"b","top":[["b",1]],"truth":0.5,"confidence":0.5,"accepted":true}\n',
            "different runs",
        ),
        ("report/suspects.json", '{"text": "a"}', "suspects.json"),
        ("report/suspects.json", '[{"text": "a", "label": "b", "suggested": "c", "score": "low"}]', "item 1"),
        ("metrics.jsonl", "{\n", "line 1 is not JSON"),
        ("metrics.jsonl", "[]\n", "no measurement"),
        ("lock.json", "[]", "lock.json"),
        ("recipe.yaml", "task: mlm\n", "not valid"),
    ],
)
def test_a_damaged_file_is_named(name: str, content: str, message: str, make_run: Callable[..., Path]) -> None:
    folder = make_run()
    publish_text(folder / name, content)
    with pytest.raises(InputError, match=message):
        read_run(folder)


def test_a_confusion_matrix_that_is_not_square_is_refused(make_run: Callable[..., Path]) -> None:
    folder = make_run()
    scores = json.loads((folder / "report" / "metrics.json").read_text("utf-8"))
    scores["confusion"]["rows_true_columns_predicted"].pop()
    publish_json(folder / "report" / "metrics.json", scores)
    run = read_run(folder)
    assert run.scores is not None
    with pytest.raises(DataError, match="as many rows and columns"):
        run.scores.classification()


def test_a_torn_last_line_of_the_log_is_no_measurement(make_run: Callable[..., Path]) -> None:
    folder = make_run()
    whole = (folder / "metrics.jsonl").read_text("utf-8")
    publish_text(folder / "metrics.jsonl", whole + '{"step": 21, "epo')
    assert len(read_run(folder).log) == 20
