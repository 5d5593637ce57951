"""The recipe that init writes: valid, portable, sized to the data, and honest about what finetune would say."""

from collections.abc import Callable
from pathlib import Path

import pytest

from nlphub.data.columns import guess_columns
from nlphub.data.doctor.starter import example_texts, refusal, settings_for, starter_recipe
from nlphub.data.examples import Examples
from nlphub.data.read import load_splits
from nlphub.data.sheet import read_sheet
from nlphub.errors import InputError
from nlphub.recipe import load_recipe

LABELS = ("退货", "转人工", "查物流")


def write(path: Path, count: int, *, quote: str = "") -> Path:
    rows = [f"{quote}第{number}个问题 {LABELS[number % 3]},{LABELS[number % 3]}\n" for number in range(count)]
    path.write_bytes(("问题,意图\n" + "".join(rows)).encode("gb18030"))
    return path


def start(path: Path, target: Path) -> str:
    sheet = read_sheet(path)
    text, label = guess_columns(sheet)
    recipe = starter_recipe(sheet, sheet.examples(text, label)[0], text=text, label=label, target=target)
    target.write_text(recipe, encoding="utf-8")
    return recipe


def test_it_is_valid_and_its_data_can_be_trained_on(tmp_path: Path) -> None:
    target = tmp_path / "意图 1.yaml"
    text = start(write(tmp_path / "意图 1.csv", 60), target)
    recipe = load_recipe(target)
    assert "#     nlphub finetune '意图 1.yaml'\n" in text
    assert "  train: 意图 1.csv\n" in text, "the folder can be moved"
    assert (recipe.run.folder, recipe.export.folder) == ("runs/意图 1", "dist/意图 1")
    assert recipe.calibration == load_recipe("intent").calibration
    assert {name: len(part) for name, part in load_splits(recipe.data).items()} == {"train": 48, "dev": 12}
    assert refusal(target) == ""


def test_a_thousand_rows_spare_a_test_set(tmp_path: Path) -> None:
    start(write(tmp_path / "x.csv", 1000), tmp_path / "x.yaml")
    assert load_recipe(tmp_path / "x.yaml").data.split == {"dev": 0.1, "test": 0.1}


def test_a_recipe_in_another_folder_names_the_whole_path(tmp_path: Path) -> None:
    path, target = write(tmp_path / "x.csv", 60), tmp_path / "elsewhere" / "x.yaml"
    target.parent.mkdir()
    start(path, target)
    assert load_recipe(target).data.train == str(path)


def test_a_file_whose_quotes_do_not_pair_is_read_in_training_as_it_was_read_here(tmp_path: Path) -> None:
    start(write(tmp_path / "x.csv", 60, quote='"'), tmp_path / "x.yaml")
    assert load_recipe(tmp_path / "x.yaml").data.quotes is False
    assert refusal(tmp_path / "x.yaml") == ""


def test_a_name_that_means_something_else_in_a_recipe_is_written_whole(tmp_path: Path) -> None:
    start(write(tmp_path / "~x.csv", 60), tmp_path / "x.yaml")
    assert load_recipe(tmp_path / "x.yaml").data.train == str(tmp_path / "~x.csv")


def test_a_name_with_a_line_end_cannot_break_out_of_its_comment(tmp_path: Path) -> None:
    target = tmp_path / "a\ntask: mlm\n.yaml"
    start(write(tmp_path / "b\ntask: mlm.csv", 60), target)
    assert load_recipe(target).task == "seq-cls"


def test_what_finetune_would_refuse_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", 60)
    path.write_bytes(path.read_bytes() + ",退货\n没有标签,\n".encode("gb18030"))
    start(path, tmp_path / "x.yaml")
    told = refusal(tmp_path / "x.yaml")
    assert "line 62: the text is empty" in told
    assert "line 63: the label is missing" in told


def test_one_label_is_no_classifier(tmp_path: Path, examples: Callable[..., Examples]) -> None:
    sheet = read_sheet(write(tmp_path / "x.csv", 3))
    for rows, word in (([("a", "x"), ("b", "x")], "1 label"), ([("a", None)], "no label")):
        with pytest.raises(InputError, match=f"has {word} in column '意图'; a classifier needs two"):
            starter_recipe(sheet, examples(rows), text="问题", label="意图", target=tmp_path / "x.yaml")


def test_larger_data_get_fewer_epochs_and_larger_batches() -> None:
    shipped = load_recipe("intent").train
    sizes = [settings_for(rows) for rows in (1, 100, 1500, 10_000, 1_000_000)]
    epochs, batches = ([size[key] for size in sizes] for key in ("epochs", "batch_size"))
    assert epochs == sorted(epochs, reverse=True)
    assert (epochs[0], epochs[2], epochs[-1]) == (2 * shipped.epochs, shipped.epochs, 3)
    assert batches == sorted(batches)
    assert (batches[2], batches[-1]) == (shipped.batch_size, 4 * shipped.batch_size)
    assert all(size["learning_rate"] == shipped.learning_rate for size in sizes)


def test_examples_are_short_readable_of_different_labels_and_not_personal(examples: Callable[..., Examples]) -> None:
    rows = [
        ("打13800138000", "a"),
        ("", "a"),
        ("长" * 31, "a"),
        ("转人工", "a"),
        ("人工", "a"),
        ("余额", "b"),
        ("x\ny", "c"),
        ("没有", None),
    ]
    assert example_texts(examples(rows)) == ["转人工", "余额"]
    assert example_texts(examples([])) == []
