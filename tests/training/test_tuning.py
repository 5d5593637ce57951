"""Searching, repeating and finding a rate: deterministic, resumable, blind to the test set, and clear about mistakes."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import nlphub as hub
from nlphub.checkpoints.native import weights_digest
from nlphub.cli.app import app
from nlphub.errors import StoreError
from nlphub.recipe.space import Range
from nlphub.training.rates import RateCurve, range_test
from nlphub.training.search import Search
from nlphub.training.tuning import Trial, Tuning

SPACE = "{learning_rate: {low: 1e-4, high: 1e-2, log: true}, epochs: {low: 1, high: 2}, batch_size: [8, 16]}"


@pytest.fixture
def desk(rows: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("train", "test"):
        with (tmp_path / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([("text", "label"), *rows])
    return tmp_path


@pytest.fixture
def recipe(small_folder: Path, desk: Path) -> Path:
    path = desk / "mine.yaml"
    path.write_text(
        f"module: {{directory: {small_folder}}}\ntask: seq-cls\ndata: {{train: train.csv, test: test.csv, split: {{dev: 0.25}}}}\n"
        f"train: {{epochs: 1, batch_size: 8, learning_rate: 3e-3}}\nrun: {{folder: runs/mine}}\ntune: {SPACE}\n"
    )
    return path


def trials_of(folder: Path) -> list[dict[str, Any]]:
    found = [json.loads(path.read_text("utf-8")) for path in sorted((folder / "trials").iterdir())]
    return [{key: value for key, value in trial.items() if key != "seconds"} for trial in found]


def run(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(words))
    if isinstance(result.exception, hub.NlphubError):
        assert result.exception.exit_code == code, result.exception
        return str(result.exception)
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout if code == 0 else result.output


# ---- tune --------------------------------------------------------------------------------------------------------------------------


def test_a_search_that_is_interrupted_goes_on_to_the_same_trials(recipe: Path, desk: Path) -> None:
    def stop(trial: Trial) -> None:
        if trial.number == 1:
            raise KeyboardInterrupt

    straight = hub.tune(hub.load_recipe(recipe, ["run.folder=straight"]), trials=4)
    assert len(straight.trials) == 4
    with pytest.raises(KeyboardInterrupt):
        hub.tune(hub.load_recipe(recipe), trials=4, told=stop)
    assert len(trials_of(desk / "runs" / "mine-tune")) == 2
    again = hub.tune(hub.load_recipe(recipe), trials=4)
    assert trials_of(again.folder) == trials_of(straight.folder)
    assert again.recipe.read_text("utf-8").replace("runs/mine", "straight") == straight.recipe.read_text("utf-8")
    assert [trial.values for trial in hub.tune(hub.load_recipe(recipe), trials=2).trials] == [trial.values for trial in again.trials[:2]]


def test_the_first_trial_is_the_recipe_and_the_others_stay_in_the_space(recipe: Path) -> None:
    found = hub.tune(recipe, trials=4)
    first, *others = found.trials
    assert first.values == {}
    for trial in others:
        assert set(trial.values) == {"learning_rate", "epochs", "batch_size"}
        assert 1e-4 <= trial.values["learning_rate"] <= 1e-2
        assert trial.values["epochs"] in (1, 2)
        assert trial.values["batch_size"] in (8, 16)
    assert len({json.dumps(trial.values) for trial in found.trials}) == 4


def test_the_best_recipe_runs_as_it_is_and_has_the_promised_dev_score(recipe: Path) -> None:
    found = hub.tune(recipe, trials=3)
    assert found.best.score == max(trial.score or 0 for trial in found.trials if trial.state == "complete")
    result = hub.finetune(found.recipe)
    assert result.judged_on == "test"
    assert result.report.metrics.macro_f1 == pytest.approx(found.best.score, abs=1e-12)


def test_the_test_set_is_not_even_opened(recipe: Path, desk: Path) -> None:
    (desk / "test.csv").unlink()
    hub.tune(recipe, trials=1)
    cut = hub.load_recipe(recipe, ["data.test=null", "data.split={dev: 0.25, test: 0.25}", "run.folder=cut"])
    lock = json.loads((hub.tune(cut, trials=1).folder / "lock.json").read_text("utf-8"))
    assert set(lock["data_sha256"]) == {"train", "dev"}


def test_another_space_or_other_data_are_another_search(recipe: Path, desk: Path) -> None:
    hub.tune(recipe, trials=1)
    with pytest.raises(hub.NlphubError, match=r"(?s)--overwrite.*the space: "):
        hub.tune(hub.load_recipe(recipe, ["tune={epochs: [1, 2]}"]), trials=1)
    with pytest.raises(hub.NlphubError, match=r"train\.dropout"):
        hub.tune(hub.load_recipe(recipe, ["train.dropout=0.2"]), trials=1)
    with (desk / "train.csv").open("a", encoding="utf-8") as stream:
        stream.write("又一个,余额\n")
    with pytest.raises(hub.NlphubError, match="the examples"):
        hub.tune(recipe, trials=1)
    assert hub.tune(recipe, trials=1, overwrite=True).trials[0].state == "complete"


def test_nothing_of_the_users_is_overwritten(recipe: Path, desk: Path) -> None:
    (desk / "runs" / "mine-tune").mkdir(parents=True)
    (desk / "runs" / "mine-tune" / "thesis.txt").touch()
    for overwrite in (False, True):
        with pytest.raises(hub.NlphubError, match="left alone"):
            hub.tune(recipe, trials=1, overwrite=overwrite)


@pytest.mark.parametrize(
    "damage", ["{", "[]", '{"number": 0}', '{"number": 0, "values": {"epochs": 0}, "state": "complete", "scores": [0.5], "seconds": 1}']
)
def test_a_damaged_trial_is_named(damage: str, recipe: Path, desk: Path) -> None:
    path = hub.tune(recipe, trials=1).folder / "trials" / "0.json"
    path.write_text(damage)
    with pytest.raises(StoreError, match=r"0\.json is no trial"):
        hub.tune(recipe, trials=1)
    path.unlink()
    hub.tune(recipe, trials=1)


def test_a_trial_that_breaks_is_kept_as_failed_and_the_search_goes_on(recipe: Path) -> None:
    chosen = hub.load_recipe(recipe, ["tune={learning_rate: [1e30]}", "train.clip=null"])
    found = hub.tune(chosen, trials=2)
    assert [trial.state for trial in found.trials] == ["complete", "failed"]
    assert "learning_rate" in str(found.trials[1].why)
    assert found.best.number == 0
    with pytest.raises(hub.NlphubError, match="None of 1 trials"):
        hub.tune(hub.load_recipe(recipe, ["train.learning_rate=1e30", "train.clip=null", "run.folder=bad"]), trials=1)


def test_values_that_do_not_go_together_are_a_failed_trial(recipe: Path) -> None:
    found = hub.tune(hub.load_recipe(recipe, ["tune={r_drop: [1.0], dropout: [0.0]}"]), trials=2)
    assert found.trials[1].state == "failed"
    assert "dropout is 0" in str(found.trials[1].why)


def test_trials_end_with_the_time(recipe: Path) -> None:
    assert len(hub.tune(recipe, trials=50, minutes=1e-9).trials) == 1
    for wrong in ({"trials": 0}, {"minutes": 0}, {"minutes": float("nan")}):
        with pytest.raises(hub.NlphubError, match="This search cannot be"):
            hub.tune(recipe, **wrong)


def test_a_search_needs_a_dev_set(recipe: Path) -> None:
    with pytest.raises(hub.NlphubError, match="no dev set"):
        hub.tune(hub.load_recipe(recipe, ["data.split={}"]), trials=1)


def test_methods_without_anything_to_search_are_refused(recipe: Path) -> None:
    other = hub.load_recipe(recipe, ["train={method: prototype}", "tune={}"])
    for call in (hub.tune, hub.find_learning_rate):
        with pytest.raises(hub.NlphubError, match=r"train\.method=finetune"):
            call(other)


def test_the_engine_repeats_itself_learns_and_cuts_what_lags_behind() -> None:
    def search(stop_after: int | None = None) -> list[dict[str, Any]]:
        engine, suggested, known = Search({"dropout": Range(low=0.0, high=0.5)}, seed=3), [], []
        for number in range(40):
            if number == stop_after:  # as if the process had ended here
                engine = Search({"dropout": Range(low=0.0, high=0.5)}, seed=3)
                for values, score in known:
                    engine.take_in(values, [score], state="complete")
            values = engine.suggest(number)
            suggested.append(values)
            known.append((values, 1 - (values["dropout"] - 0.3) ** 2))
            engine.take_in(values, [known[-1][1]], state="complete")
        return suggested

    first = search()
    assert first == search(stop_after=25)
    late = [values["dropout"] for values in first[20:]]
    assert np.median(np.abs(np.array(late) - 0.3)) < 0.09, "uniform draws would be at 0.125"
    engine = Search({"dropout": Range(low=0.0, high=0.5)}, seed=0)
    assert not engine.hopeless([0.0]), "the recipe's own trial always ends"
    for number in range(5):
        engine.take_in(engine.suggest(number), [0.5, 0.6, 0.7], state="complete")
    engine.suggest(5)
    assert [engine.hopeless([0.1][:1] * count) for count in (1, 2)] == [False, True]
    engine.take_in({"dropout": 0.1}, [0.1, 0.1], state="pruned")
    engine.suggest(6)
    assert not any(engine.hopeless([0.9] * count) for count in (1, 2, 3))


def test_the_table_has_the_best_first_and_every_key() -> None:
    trials = (
        Trial(0, {}, "complete", (0.5, 0.6), 1.0),
        Trial(1, {"learning_rate": 0.000123456, "epochs": 3}, "complete", (0.7,), 1.0),
        Trial(2, {"learning_rate": 0.1, "epochs": 4}, "failed", (), 1.0, "broke"),
    )
    lines = Tuning(Path("x"), "macro_f1", trials, trials[1]).table().splitlines()
    assert lines[0].split() == ["trial", "dev", "macro_f1", "state", "epochs", "learning_rate"]
    assert [line.split()[:2] for line in lines[1:]] == [["1", "0.7000"], ["0", "0.6000"], ["2", "-"]]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("{learning_rate: {low: 1, high: 0.1}}", "low"),
        ("{learning_rate: {low: 0, high: 0.1, log: true}}", "above 0"),
        ("{learning_rate: {low: -1.0, high: 0.1}}", "greater than 0"),
        ("{learning_rate: {low: 0.1, hi: 1}}", "Did you mean 'high'"),
        ("{epochs: {low: 0.5, high: 3}}", "whole|integer"),
        ("{epochs: [2, 0]}", "not 0"),
        ("{schedule: [linear, cubic]}", "cubic"),
        ("{schedule: {low: 1, high: 2}}", "schedule"),
        ("{seed: [1, 2]}", "seed"),
        ("{dropout: []}", "dropout"),
    ],
)
def test_a_space_that_cannot_be_is_explained(space: str, message: str, recipe: Path) -> None:
    with pytest.raises(hub.NlphubError, match=message):
        hub.load_recipe(recipe, [f"tune={space}"])


def test_the_commands_say_what_they_found_and_how_to_go_on(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = json.loads(run("tune", str(recipe), "--trials", "2", "--json"))
    assert [trial["number"] for trial in facts["trials"]] == [0, 1]
    output = run("tune", str(recipe), "--trials", "2")
    assert "nlphub finetune" in output
    assert "dev macro_f1" in output

    def stopped(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nlphub.training.tuning._Work.begin", stopped)
    assert "the same command goes on" in run("tune", str(recipe), code=130)


# ---- repeat ------------------------------------------------------------------------------------------------------------------------


def test_repeated_runs_go_on_where_they_stopped_and_have_an_interval(recipe: Path, desk: Path) -> None:
    whole = hub.repeat(hub.load_recipe(recipe, ["run.folder=whole"]), seeds=2)

    def stop(found: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hub.repeat(recipe, seeds=2, told=stop)
    (desk / "runs" / "mine-seeds" / "seeds" / "1").mkdir()  # killed as the second began
    told = []
    again = hub.repeat(recipe, seeds=2, told=told.append)
    assert [one.seed for one in told] == [0, 1]
    assert [one.weights_digest for one in again.runs] == [one.weights_digest for one in whole.runs]
    assert len({one.weights_digest for one in again.runs}) == 2
    values = [one.scores["macro_f1"] for one in again.runs]
    mean = again.means["macro_f1"]
    assert mean.value == pytest.approx(np.mean(values))
    assert mean.high - mean.value == pytest.approx(12.706 * np.std(values, ddof=1) / 2**0.5, rel=1e-3)
    assert again.judged_on == "test"
    assert json.loads(run("repeat", str(recipe), "--seeds", "2", "--json"))["runs"] == [one.as_dict() for one in again.runs]
    assert "95 %" in run("repeat", str(recipe), "--seeds", "2")
    with pytest.raises(hub.NlphubError, match=r"train\.learning_rate"):
        hub.repeat(hub.load_recipe(recipe, ["train.learning_rate=0.5"]), seeds=2)


def test_repeats_that_cannot_be_compared_are_refused(recipe: Path) -> None:
    with pytest.raises(hub.NlphubError, match="at least 2"):
        hub.repeat(recipe, seeds=1)
    with pytest.raises(hub.NlphubError, match=r"data\.test"):
        hub.repeat(hub.load_recipe(recipe, ["data.test=null", "data.split={}"]), seeds=2)


# ---- find-rate ---------------------------------------------------------------------------------------------------------------------


def test_the_range_test_leaves_the_module_as_it_is(small_folder: Path, examples: hub.Examples) -> None:
    bare = hub.Module(directory=small_folder)
    settings = hub.TrainSettings(batch_size=8, dropout=0.3, r_drop=1.0)
    before = weights_digest(bare.encoder)
    curve = range_test(bare, examples, settings, low=1e-5, high=1.0, steps=30)
    assert bare.head is None
    assert weights_digest(bare.encoder) == before
    assert bare.encoder.config.dropout != 0.3
    assert bare.calibration is hub.Module(directory=small_folder).calibration
    assert range_test(bare, examples, settings, low=1e-5, high=1.0, steps=30) == curve
    assert curve.rates[0] == 1e-5
    assert list(curve.rates) == sorted(curve.rates)


def test_the_suggestion_lies_below_where_the_loss_is_lowest_and_trains(small_folder: Path, examples: hub.Examples) -> None:
    curve = range_test(hub.Module(directory=small_folder), examples, hub.TrainSettings(batch_size=8), high=10.0, steps=60)
    assert 1e-4 < curve.suggestion < 3e-2
    assert curve.rates[-1] < 10.0, "it ends when the loss explodes"
    settings = hub.TrainSettings(batch_size=8, epochs=10, learning_rate=curve.suggestion)
    assert hub.Trainer(hub.Module(directory=small_folder), settings=settings).train(examples, eval_dataset=examples).metrics.accuracy > 0.9


def test_a_curve_is_drawn_with_its_lowest_point_marked() -> None:
    curve = RateCurve(tuple(10.0 ** (number / 10 - 6) for number in range(40)), tuple(abs(number - 33) + 1.0 for number in range(40)))
    assert curve.lowest == pytest.approx(10**-2.7)
    assert curve.suggestion == 0.00067
    (marked,) = [line for line in curve.table().splitlines() if line.endswith("<")]
    assert marked.split()[:2] == ["2.0e-03", "1.000"]


def test_find_rate_prints_a_curve_and_writes_nothing(recipe: Path, desk: Path) -> None:
    output = run("find-rate", str(recipe), "--steps", "12", "--low", "1e-4", "--high", "1e-2")
    assert "train.learning_rate=" in output
    assert not (desk / "runs").exists()
    facts = json.loads(run("find-rate", str(recipe), "--steps", "12", "--low", "1e-4", "--high", "1e-2", "--json"))
    assert len(facts["rates"]) == 12
    assert "0.1" in run("find-rate", str(recipe), "--low", "0.5", "--high", "0.1", code=2)
    assert "smaller low" in run("find-rate", str(recipe), "train.clip=null", "--low", "1e25", "--high", "1e30", code=1)
