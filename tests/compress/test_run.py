"""``nlphub shrink``, ``distill`` and ``compare`` on a small run: ordinary folders, all or nothing, one table, one picture."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import nlphub as hub
from nlphub.cli.app import app
from nlphub.compress import run as shrinking
from nlphub.compress.compare import Measured, picture, table
from nlphub.compress.run import Plan, names_of, shrink_folder
from nlphub.compress.shrink import Shape
from nlphub.errors import InputError


@pytest.fixture(scope="module")
def run_folder(taught_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its recipe, as ``nlphub finetune`` leaves it, around the taught module."""
    module = hub.Module(directory=taught_folder)
    rows = [
        (f"{opening}{middle}", label) for label, middle in zip(module.labels, ("钱", "汇款", "卡"), strict=True) for opening in "一二三四"
    ]
    place = tmp_path_factory.mktemp("runs")
    (place / "train.csv").write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows), "utf-8")
    folder = place / "whole"
    shutil.copytree(taught_folder, folder / "best")
    files = [f"data.{split}={place / 'train.csv'}" for split in ("train", "test")]
    values = ["data.split={}", "calibration.aim=null", "train.method=finetune", "train.epochs=1", "export.folder=null"]
    recipe = hub.load_recipe("intent", [*files, *values, f"run.folder={folder}"])
    (folder / "recipe.yaml").write_text(recipe.to_yaml(), "utf-8")
    (folder / "lock.json").write_text(json.dumps({"recipe_sha256": recipe.digest()}), "utf-8")
    return folder


def invoke(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, (words, result.output, result.exception)
    return result.output


def test_a_run_becomes_a_smaller_module_that_answers_and_says_what_was_done(run_folder: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("还剩多少钱\n卡没了\n", "utf-8")
    out = tmp_path / "small"
    told = json.loads(
        invoke("shrink", run_folder, "--vocabulary", texts, "--held-out", texts, "--layers", 2, "--heads", 2, "--width", 24,
               "--distill", 0.5, "--out", out, "--json")
    )  # fmt: skip
    assert told["recovery_steps"] > 0
    assert told["scores"].keys() == {"source", "cut", "recovered"}
    assert told["smaller"]["held_out"]["unknown"] == 0
    module = hub.Module(directory=out)
    config = module.encoder.config
    assert (config.layers, config.heads, config.inner, config.vocab < 200) == (2, 2, 24, True)
    assert len(module.predict(["卡丢了"])) == 1
    card = (out / "README.md").read_text("utf-8")
    assert told["smaller"]["source_sha256"] in card
    assert "layers of the source that stayed" in card
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(InputError, match="add --overwrite"):
        shrink_folder(run_folder, out, Plan(Shape(layers=1), epochs=0))
    invoke("shrink", run_folder, "--layers", 1, "--epochs", 0, "--out", out, "--overwrite")
    assert hub.Module(directory=out).encoder.config.layers == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_pretrained_module_keeps_its_masked_language_head(taught_folder: Path, tmp_path: Path) -> None:
    from nlphub.checkpoints import native

    whole = hub.Module(directory=taught_folder, task="mlm")
    (tmp_path / "whole").mkdir()
    native.save_checkpoint(
        tmp_path / "whole",
        encoder=whole.encoder,
        head=None,
        tokenizer=whole.tokenizer,
        config={"architecture": "ernie_tiny"},
        pretrained=[whole.head],
    )
    (tmp_path / "texts.csv").write_text("text\n还剩多少钱\n卡丢了吗\n", "utf-8")
    invoke("shrink", tmp_path / "whole", "--vocabulary", tmp_path / "texts.csv", "--heads", 3, "--layers", 2, "--out", tmp_path / "small")
    assert hub.Module(directory=tmp_path / "small", task="mlm").trained
    assert hub.Module(directory=tmp_path / "small", task="seq-cls", labels=["a", "b"]).encoder.config.heads == 3


def test_killed_before_the_end_nothing_changes(run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "small"
    shrink_folder(run_folder, out, Plan(Shape(layers=2), epochs=0))
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def killed(*_: object, **__: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(shrinking, "card_text", killed)
    with pytest.raises(KeyboardInterrupt):
        shrink_folder(run_folder, out, Plan(Shape(layers=1), epochs=0), overwrite=True)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_run_teaches_another_module_with_its_own_recipe(run_folder: Path, tmp_path: Path) -> None:
    shrink_folder(run_folder, tmp_path / "small", Plan(Shape(layers=1), epochs=0))
    invoke("distill", run_folder, tmp_path / "small", "train.epochs=1", "distill.relations=1", "--out", tmp_path / "taught")
    lock = json.loads((tmp_path / "taught" / "lock.json").read_text("utf-8"))
    assert lock["teacher"]["folder"] == str(run_folder)
    assert hub.Module(directory=tmp_path / "taught").encoder.config.layers == 1
    output = invoke(
        "compare",
        run_folder,
        tmp_path / "taught",
        "--data",
        run_folder.parent / "train.csv",
        "--rounds",
        1,
        "--picture",
        tmp_path / "all.svg",
    )
    assert "taught" in output
    assert "macro_f1" in output
    assert (tmp_path / "all.svg").read_text("utf-8").startswith("<?xml")


def test_wrong_wishes_are_refused_with_all_reasons(run_folder: Path, taught_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        shrink_folder(taught_folder, tmp_path / "x", Plan(Shape(layers=9), epochs=2, distill=1.5, held_out="x.csv"))
    assert len(refused.value.problems) == 4
    with pytest.raises(InputError, match="where the source lies"):
        shrink_folder(taught_folder, taught_folder, Plan(Shape(layers=1)), overwrite=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.doc").write_text("")
    with pytest.raises(InputError, match="is no saved module"):
        shrink_folder(run_folder, tmp_path / "other", Plan(Shape(layers=1)), overwrite=True)
    assert not (tmp_path / "x").exists()


def test_the_table_has_ratios_to_the_first_and_equal_rows_draw_equal_pictures() -> None:
    rows = [
        Measured("whole", 9_000_000, 4_000_000, 8.0, 100.0, 0.9, "accuracy"),
        Measured("small", 3_000_000, 1_000_000, 2.0, 400.0, 0.85, "accuracy"),
    ]
    text = table(rows)
    assert "1.0 (25%)" in text
    assert "2.00 (4.00x)" in text
    assert "85.00 (-5.00)" in text
    assert picture(rows) == picture(rows)
    assert np.char.count(picture(rows), "whole") >= 1
    assert names_of([Path("a/best"), Path("b/best")]) == ["a/best", "b/best"]
