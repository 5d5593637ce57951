"""``load_data``: every format, every kind of bad row, and where its mistakes are said to be."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nlphub.data import tables
from nlphub.data.examples import Example
from nlphub.data.read import load_data, load_splits
from nlphub.errors import DataError, InputError, MissingExtraError, OfflineError
from nlphub.recipe import DataSettings

ROWS = [("我要退这双鞋", "退货"), ('他说"好", 然后\n走了', "其他"), ("到哪了", "查物流")]
Writer = Callable[[Path, list[str], list[tuple[Any, ...]]], None]


def write_csv(path: Path, header: list[str], rows: list[tuple[Any, ...]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, delimiter="\t" if path.suffix == ".tsv" else ",").writerows([header, *rows])


def write_jsonl(path: Path, header: list[str], rows: list[tuple[Any, ...]]) -> None:
    lines = [json.dumps(dict(zip(header, row, strict=True)), ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines), encoding="utf-8")


def write_json(path: Path, header: list[str], rows: list[tuple[Any, ...]]) -> None:
    path.write_text(json.dumps([dict(zip(header, row, strict=True)) for row in rows], indent=1), encoding="utf-8")


def write_xlsx(path: Path, header: list[str], rows: list[tuple[Any, ...]]) -> None:
    import openpyxl

    workbook = openpyxl.Workbook()
    sheet = workbook.worksheets[0]
    for row in [header, *rows]:
        sheet.append(list(row))
    workbook.create_sheet("别的")
    workbook.save(path)


def write_parquet(path: Path, header: list[str], rows: list[tuple[Any, ...]]) -> None:
    import pyarrow
    from pyarrow import parquet

    columns = list(zip(*rows, strict=True)) or [()] * len(header)
    parquet.write_table(pyarrow.table(dict(zip(header, map(list, columns), strict=True))), path)


FORMATS: dict[str, Writer] = {
    ".csv": write_csv,
    ".tsv": write_csv,
    ".jsonl": write_jsonl,
    ".json": write_json,
    ".xlsx": write_xlsx,
    ".parquet": write_parquet,
}
every_format = pytest.mark.parametrize("suffix", FORMATS)


def written(tmp_path: Path, content: str | bytes, name: str = "data.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def problems(source: Any, **options: Any) -> list[str]:
    """What is wrong, without the folder."""
    with pytest.raises(DataError) as raised:
        load_data(source, **options)
    folder = f"{Path(source).parent}/" if isinstance(source, Path) else "\0"
    return [problem.replace(folder, "") for problem in raised.value.problems]


@every_format
def test_every_format_gives_the_same_examples(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"数据{suffix}"
    FORMATS[suffix](
        path,
        ["编号", "意图", " 问题 " if suffix in (".csv", ".tsv", ".xlsx", ".parquet") else "问题"],
        [(i, label, text) for i, (text, label) in enumerate(ROWS)],
    )
    data = load_data(path, text="问题", label="意图")
    assert list(data) == ["train"]
    assert [(example.text, example.label) for example in data["train"]] == ROWS
    assert data["train"].source == str(path)


@every_format
def test_lines_are_those_of_the_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"data{suffix}"
    FORMATS[suffix](path, ["text", "label"], list(ROWS))
    expected = {".csv": [2, 3, 5], ".tsv": [2, 3, 5], ".jsonl": [1, 2, 3], ".json": [2, 6, 10], ".xlsx": [2, 3, 4], ".parquet": [1, 2, 3]}
    assert [example.line for example in load_data(path)["train"]] == expected[suffix]


@every_format
def test_empty_texts_and_missing_labels_are_reported_together_in_every_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"data{suffix}"
    FORMATS[suffix](path, ["text", "label"], [("a", "x"), (" ", "x"), ("b", ""), ("\u200b", "y")])
    first = {".csv": 2, ".tsv": 2, ".xlsx": 2}.get(suffix, 1)
    step, unit = (4, "line") if suffix == ".json" else (1, "row" if suffix in (".xlsx", ".parquet") else "line")
    places = [f"data{suffix}, {unit} {(2 if suffix == '.json' else first) + index * step}" for index in range(4)]
    assert problems(path) == [
        f"{places[1]}: the text is empty (nothing but spaces or invisible characters)",
        f"{places[2]}: the label is missing",
        f"{places[3]}: the text is empty (nothing but spaces or invisible characters)",
    ]


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".xlsx", ".parquet"])
def test_numbers_become_plain_labels_and_nulls_are_missing(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"data{suffix}"
    FORMATS[suffix](path, ["text", "label"], [("a", 3.0), ("b", 4.0), ("c", 2.5)])
    assert load_data(path)["train"].labels == ["3", "4", "2.5"]
    FORMATS[suffix](path, ["text", "label"], [("a", 3), ("b", None)])
    assert [problem.rpartition(": ")[2] for problem in problems(path)] == ["the label is missing"]


@every_format
def test_a_file_without_rows_is_an_error(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"data{suffix}"
    FORMATS[suffix](path, ["text", "label"], [])
    assert len(problems(path)) == 1


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_an_empty_file_is_an_error(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path, "", f"data{suffix}")
    assert problems(path) == [f"data{suffix}: it is empty; the first row names the columns"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12).map(lambda text: text + "文"),
            st.sampled_from("甲乙"),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_any_text_survives_csv_and_starts_on_its_reported_line(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    path = tmp_path / "any.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, quoting=csv.QUOTE_ALL).writerows([("text", "label"), *rows])
    found = load_data(path)["train"]
    assert [(example.text, example.label) for example in found] == rows
    physical = path.read_bytes().decode().replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for example in found:
        start = example.text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[0].replace('"', '""')
        assert physical[(example.line or 0) - 1].startswith('"' + start)


def test_excels_separator_line_and_marks_are_understood(tmp_path: Path) -> None:
    path = written(tmp_path, "sep=;\r\ntext;label\r\n你好,在吗;x\r\n".encode("utf-8-sig"))
    assert load_data(path)["train"][0] == Example("你好,在吗", "x")
    assert load_data(path)["train"][0].line == 3
    unicode_text = written(tmp_path, "text\tlabel\r\n你好\tx\r\n".encode("utf-16"), "excel.tsv")
    assert load_data(unicode_text)["train"][0] == Example("你好", "x")


def test_gb18030_from_excel_is_read_and_an_encoding_can_be_named(tmp_path: Path) -> None:
    path = written(tmp_path, "text,label\n退货,a\n".encode("gb18030"))
    assert load_data(path)["train"].texts == ["退货"]
    path.write_bytes("text,label\n退貨,a\n".encode("big5"))
    assert load_data(path, encoding="big5")["train"].texts == ["退貨"]


def test_every_bad_line_of_a_csv_file_is_reported_once_with_its_first_line(tmp_path: Path) -> None:
    path = written(tmp_path, 'text,label\n"two\nlines",x\na,b,c\nlonely\n\n"x"y,z\n,x\nn\0l,x\nfine,\n"never closed,x\nmore,y\n')
    hint = "a field that begins with a quote ends with one, quotes inside are doubled (or read with quotes=False)"
    assert problems(path) == [
        "data.csv, line 4: 3 fields, and the header has 2; quote a text that holds ','",
        "data.csv, line 5: 1 fields, and the header has 2; quote a text that holds ','",
        f"data.csv, line 7: ',' expected after '\"'; {hint}",
        "data.csv, line 9: holds a NUL character; is this a text file?",
        f"data.csv, line 11: unexpected end of data; {hint}",
        "data.csv, line 8: the text is empty (nothing but spaces or invisible characters)",
        "data.csv, line 10: the label is missing",
    ]


def test_a_tsv_file_in_which_quotes_are_characters_is_read_without_quotes(tmp_path: Path) -> None:
    path = written(tmp_path, 'label\ttext\nx\t"好"是什么\ny\t"没有关\n', "chnsenticorp.tsv")
    assert len(problems(path)) == 2
    assert load_data(path, quotes=False)["train"].texts == ['"好"是什么', '"没有关']


def test_a_huge_field_is_a_quote_that_was_never_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = csv.field_size_limit()
    monkeypatch.setattr(tables, "_FIELD_LIMIT", 100)
    path = written(tmp_path, "text,label\n" + "a" * 101 + ",x\nb,y\n")
    assert "line 2: field larger than field limit" in problems(path)[0]
    assert csv.field_size_limit() == before


@every_format
def test_a_missing_column_is_named_with_those_there_are(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"data{suffix}"
    FORMATS[suffix](path, ["文本", "labels"], [("a", "x")])
    problem = problems(path, text="text")[0]
    assert problem.startswith(
        f"data{suffix}: there is no column 'text'. there is no column 'label'. Did you mean 'labels'? The columns are: '文本', 'labels'."
    )
    assert "data.text" in problem


def test_a_wrong_delimiter_is_recognised(tmp_path: Path) -> None:
    assert r"looks separated by '\t': name it .tsv" in problems(written(tmp_path, "text\tlabel\na\tx\n"))[0]


def test_a_column_that_is_there_twice_is_refused_only_when_it_is_chosen(tmp_path: Path) -> None:
    path = written(tmp_path, "text,label,label,x\na,b,c,d\n")
    assert problems(path)[0].startswith("data.csv: 2 columns are called 'label'.")
    assert load_data(path, label="x")["train"].labels == ["d"]


def test_mistakes_of_all_splits_are_reported_together(tmp_path: Path) -> None:
    good = written(tmp_path, "text,label\na,x\n,y\n", "train.csv")
    wrong = written(tmp_path, "txt,label\na,x\n", "dev.csv")
    with pytest.raises(DataError) as raised:
        load_data({"train": good, "dev": str(wrong)})
    assert [problem.split("/")[-1].split(":")[0] for problem in raised.value.problems] == ["train.csv, line 3", "dev.csv"]


def test_bad_json_lines_do_not_hide_one_another(tmp_path: Path) -> None:
    lines = ['{"text": "a", "label": "x"}', "{text}", "[1]", "", '{"text": ["a"], "label": "x"}', "[" * 100_000, '{"text": "b"}']
    path = written(tmp_path, "\n".join(lines), "data.jsonl")
    assert [problem[:48] for problem in problems(path)] == [
        "data.jsonl, line 2: not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"[:48],
        "data.jsonl, line 3: [1] is not an object with keys"[:48],
        "data.jsonl, line 5: ['a'] is neither text nor a number"[:48],
        "data.jsonl, line 6: not JSON: maximum recursion depth"[:48],
        "data.jsonl, line 7: the label is missing",
    ]


def test_a_json_list_reports_lines(tmp_path: Path) -> None:
    path = written(tmp_path, '[\n {"text": "a",\n  "label": "x"},\n 3,\n {"text": "", "label": "y"}, {"text": "b"}]', "data.json")
    assert problems(path) == [
        "data.json, line 4: 3 is not an object with keys",
        "data.json, line 5: the text is empty (nothing but spaces or invisible characters)",
        "data.json, line 5: the label is missing",
    ]
    path.write_text('[\n {"text": "a"},\n {"text" "b"}]', encoding="utf-8")
    assert problems(path) == ["data.json, line 3: not JSON: Expecting ':' delimiter: line 3 column 10 (char 27)"]


@pytest.mark.parametrize("text", ["[", "[1", '[{"text": "a", "label": "x"}', '[{"text": "a", "label": "x"}] [2]', "[]", "{}", "3"])
def test_broken_json_files_are_errors(tmp_path: Path, text: str) -> None:
    assert problems(written(tmp_path, text, "data.json"))


def test_json_with_one_object_a_line_is_read_as_jsonl(tmp_path: Path) -> None:
    path = written(tmp_path, '{"text": "a", "label": "x"}\n{"text": "b", "label": "x"}\n', "data.json")
    assert load_data(path)["train"].texts == ["a", "b"]


def test_spreadsheets_may_have_empty_rows_wrong_dimensions_and_short_rows(tmp_path: Path) -> None:
    import openpyxl

    path, workbook = tmp_path / "data.xlsx", openpyxl.Workbook()
    sheet = workbook.worksheets[0]
    for row in ([None], ["备注", "text", "label"], [None, "a", "x"], [], ["只有备注"], [None, "b", 2]):
        sheet.append(row)
    workbook.save(path)
    assert problems(path) == [
        "data.xlsx, row 5: the text is empty (nothing but spaces or invisible characters)",
        "data.xlsx, row 5: the label is missing",
    ]
    sheet.delete_rows(5)
    workbook.save(path)
    assert [(example.text, example.label, example.line) for example in load_data(path)["train"]] == [("a", "x", 3), ("b", "2", 5)]


@pytest.mark.parametrize(("name", "kind"), [("data.xlsx", "an xlsx workbook"), ("data.parquet", "a parquet file")])
def test_a_file_that_is_not_what_its_name_says_is_one_clear_error(tmp_path: Path, name: str, kind: str) -> None:
    with pytest.raises(DataError, match=f"is not {kind}"):
        load_data(written(tmp_path, "text,label\na,x\n", name))


def test_a_zip_that_is_no_workbook_and_one_that_is_too_large_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zipfile

    path = tmp_path / "data.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "b" * 1000)
    with pytest.raises(DataError, match="is not an xlsx workbook"):
        load_data(path)
    monkeypatch.setattr(tables, "_XLSX_LIMIT", 999)
    with pytest.raises(DataError, match="unpacks to 1,000 bytes"):
        load_data(path)


def test_a_missing_reader_is_said_with_the_command_that_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'nlphub\[train\]'"):
        load_data(written(tmp_path, b"", "data.xlsx"))


@pytest.mark.parametrize(
    ("name", "hint"), [("data.txt", "nlphub reads .conll, .csv"), ("data.xls", "Save it as .xlsx"), ("data", "nlphub reads .conll, .csv")]
)
def test_an_unknown_suffix_is_refused(tmp_path: Path, name: str, hint: str) -> None:
    with pytest.raises(DataError, match=hint):
        load_data(written(tmp_path, "text,label\na,x\n", name))


def test_a_file_that_is_not_there_comes_with_near_names_and_hub_ids_with_how_to_write_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "", "train.csv")
    with pytest.raises(DataError, match=r"Did you mean '.*train\.csv'"):
        load_data("trian.csv")
    with pytest.raises(DataError, match="write 'hf://clue/tnews'"):
        load_data("clue/tnews")
    with pytest.raises(DataError, match="is a folder"):
        load_data(tmp_path)


@pytest.mark.parametrize("source", [3, None, ["train.csv"], {}, {"train": {"a": "b"}}])
def test_what_is_no_source_is_refused(source: Any) -> None:
    with pytest.raises(DataError):
        load_data(source)


def test_a_mapping_gives_its_splits_and_validation_is_dev(tmp_path: Path) -> None:
    path = written(tmp_path, "text,label\na,x\n")
    assert list(load_data({"train": path, "validation": path, "holdout": path})) == ["train", "dev", "holdout"]
    with pytest.raises(DataError, match="Two splits are called 'dev'"):
        load_data({"dev": path, "validation": path})


def test_split_cuts_parts_off_train(tmp_path: Path) -> None:
    path = written(tmp_path, "text,label\n" + "".join(f"t{number},{'xy'[number % 2]}\n" for number in range(100)))
    data = load_data(path, split={"dev": 0.1, "test": 0.2}, seed=1)
    assert {name: len(part) for name, part in data.items()} == {"train": 70, "dev": 10, "test": 20}
    assert data["dev"].labels.count("x") == 5
    assert data["dev"] == load_data(path, split={"dev": 0.1, "test": 0.2}, seed=1)["dev"]
    assert data["dev"] != load_data(path, split={"dev": 0.1, "test": 0.2}, seed=2)["dev"]
    with pytest.raises(DataError, match="both given and to be cut off"):
        load_data({"train": path, "dev": path}, split={"dev": 0.1})
    with pytest.raises(DataError, match="there is only: dev"):
        load_data({"dev": path}, split={"test": 0.1})


def test_unlabelled_texts_and_pairs(tmp_path: Path) -> None:
    path = written(tmp_path, "a,b,label\n今天,昨天,0\n去,,1\n")
    assert load_data(path, text="a", label=None)["train"].label_names == ()
    assert problems(path, text="a", pair="b") == ["data.csv, line 3: the second text is empty"]
    path.write_text("a,b,label\n今天,昨天,0\n", encoding="utf-8")
    assert load_data(path, text="a", pair="b")["train"].pairs == ["昨天"]


def test_the_data_section_of_a_recipe_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, "问,答\n" + "".join(f"t{number},{'xy'[number % 2]}\n" for number in range(20)))
    data = load_splits(DataSettings(train=str(path), test=str(path), text="问", label="答", split={"dev": 0.1}), seed=3)
    assert {name: len(part) for name, part in data.items()} == {"train": 18, "test": 20, "dev": 2}


def dataset(rows: dict[str, list[Any]], names: list[str] | None = None) -> Any:
    import datasets

    made = datasets.Dataset.from_dict(rows)
    return made.cast_column("label", datasets.ClassLabel(names=names)) if names else made


def test_datasets_objects_with_class_names_are_read() -> None:
    import datasets

    train = dataset({"idx": [7, 8], "sentence": ["你好", "再见"], "label": [1, 0]}, ["告别", "问候"])
    data = load_data(datasets.DatasetDict({"train": train, "validation": train.select([0])}), text="sentence")
    assert data["train"] == load_data(train, text="sentence")["train"]
    assert [(example.text, example.label, example.line) for example in data["train"]] == [("你好", "问候", 1), ("再见", "告别", 2)]
    assert data["dev"].labels == ["问候"]
    assert load_data(train.to_iterable_dataset(), text="sentence")["train"] == data["train"]


def test_hidden_labels_and_missing_columns_of_datasets_are_reported() -> None:
    hidden = dataset({"text": ["a", "b"], "label": [-1, 0]}, ["x"])
    assert problems(hidden) == ["split 'train', row 1: the label is missing"]
    assert problems(hidden, text="txt")[0].startswith("split 'train': there is no column 'txt'. Did you mean 'text'?")


def test_a_hub_id_is_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked = []

    def load_dataset(*arguments: Any, **options: Any) -> Any:
        asked.append((*arguments, options["split"], options["revision"], datasets.config.HF_HUB_OFFLINE))
        return dataset({"text": ["a"], "label": ["x"]})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    load_data("hf://clue/clue@v1:tnews#validation")
    monkeypatch.setenv("NLPHUB_OFFLINE", "1")
    load_data({"train": "hf://org/name"})
    assert asked == [("clue/clue", "tnews", "validation", "v1", False), ("org/name", None, None, None, True)]
    assert datasets.config.HF_HUB_OFFLINE is False
    with pytest.raises(DataError, match="not of the form"):
        load_data("hf://name")


def test_offline_a_hub_id_that_is_not_cached_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NLPHUB_OFFLINE", "1")
    with pytest.raises(OfflineError, match="not in the local cache"):
        load_data("hf://nlphub/no-such-data-set-anywhere")


def test_a_hub_id_with_several_splits_is_not_one_split(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    part = dataset({"text": ["a"], "label": ["x"]})
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.DatasetDict({"train": part, "test": part}))
    assert list(load_data("hf://org/name")) == ["train", "test"]
    with pytest.raises(DataError, match="hf://org/name#train"):
        load_data({"train": "hf://org/name"})


def test_bundled_files_are_found_and_the_bundle_cannot_be_left() -> None:
    assert len(load_data("bundle:recipes/data/bank_intents/train.csv")["train"].label_names) >= 18
    with pytest.raises(InputError, match="outside the bundle"):
        load_data("bundle:../../etc/passwd")


def test_reading_text_files_loads_no_heavy_package(tmp_path: Path) -> None:
    written(tmp_path, "text,label\na,x\n")
    code = (
        "import sys; from nlphub.data.read import load_data; load_data('data.csv'); "
        "print({'datasets', 'pyarrow', 'openpyxl', 'torch', 'pandas'} & set(sys.modules))"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": root}, check=True)
    assert done.stdout == "set()\n"
