"""``nlphub init`` and ``nlphub doctor FILE``: what they print, write and refuse, and their exit codes."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from nlphub import paths
from nlphub.cli import doctor
from nlphub.data.read import load_data, load_splits
from nlphub.errors import DataError, InputError
from nlphub.recipe import load_recipe

ROOT = Path(__file__).parents[2]
BANK = ROOT / "recipes" / "data" / "bank_intents"
ROWS = [
    ("我要退这双鞋", "退货"), ("能退钱吗", "退货"), ("不想要了怎么退", "退货"),
    ("转人工", "转人工"), ("叫客服来", "转人工"), ("人工服务", "转人工"),
    ("快递到哪了", "查物流"), ("查下包裹", "查物流"), ("货几时到", "查物流"),
]  # fmt: skip
Write = Callable[..., Path]


def run(*arguments: str, code: int = 0) -> Result:
    """Run a command inside this process; errors come out as exceptions."""
    app = typer.Typer()
    doctor.register(app)
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """``write("x.csv", rows)`` in the current folder, in GB18030 as Chinese Excel does, and as a workbook for .xlsx."""
    monkeypatch.chdir(tmp_path)

    def make(name: str, rows: list[tuple[str, ...]] = ROWS, header: tuple[str, ...] = ("问题", "意图")) -> Path:
        path = tmp_path / name
        if path.suffix == ".xlsx":
            import openpyxl

            book = openpyxl.Workbook()
            for row in [header, *rows]:
                book.worksheets[0].append(row)
            book.save(path)
        else:
            path.write_bytes("".join(",".join(row) + "\r\n" for row in [header, *rows]).encode("gb18030"))
        return path

    return make


@pytest.mark.parametrize("name", ["intents.xlsx", "intents.csv"])
def test_init_asks_nothing_and_writes_a_recipe_beside_the_file(name: str, write: Write) -> None:
    write(name)
    out = run("init", name).stdout
    for part in (
        "9",
        "column '问题' (guessed; --text NAME for another)",
        "column '意图'",
        "Chinese 9",
        "3 of them",
        "fewer than 8 examples",
    ):
        assert part in out
    assert f"see them: nlphub doctor {name}" in out
    assert out.endswith("written: intents.yaml\nnext:    nlphub finetune intents.yaml\n")
    recipe = load_recipe("intents.yaml")
    assert (recipe.data.text, recipe.data.label, recipe.run.folder) == ("问题", "意图", "runs/intents")
    assert sum(len(part) for part in load_splits(recipe.data).values()) == 9
    assert set(recipe.examples) <= {text for text, _ in ROWS}


def test_init_never_replaces_a_recipe_unless_told(write: Write) -> None:
    write("intents.csv")
    Path("intents.yaml").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match=r"intents\.yaml is there already; --overwrite replaces it, or --out names another"):
        run("init", "intents.csv")
    assert Path("intents.yaml").read_text("utf-8") == "mine"
    run("init", "intents.csv", "--out", "new/other.yaml")
    assert load_recipe("new/other.yaml").data.train == str(Path("intents.csv").absolute())
    run("init", "intents.csv", "--overwrite")
    assert load_recipe("intents.yaml").data.train == str(Path("intents.csv").absolute())
    with pytest.raises(InputError, match=r"ends in \.yaml"):
        run("init", "intents.csv", "--out", "recipe.txt")


def test_init_as_json_has_profile_findings_and_recipe(write: Write) -> None:
    write("x.csv", [*ROWS, ("转人工", "退货")])
    facts = json.loads(run("init", "x.csv", "--json").stdout)
    assert (facts["text"], facts["label"], facts["encoding"], facts["recipe"], facts["refused"]) == (
        "问题",
        "意图",
        "gb18030",
        "x.yaml",
        "",
    )
    assert facts["profile"]["rows"] == 10
    assert [finding["check"] for finding in facts["findings"]] == ["conflicts", "few"]
    assert "cases" not in facts["findings"][0]


def test_init_takes_the_columns_that_are_named_and_refuses_unknown_ones(write: Write) -> None:
    write("x.csv", [(text, label, label[:1]) for text, label in ROWS], ("问题", "意图", "大类"))
    out = run("init", "x.csv", "--label", "大类", "--encoding", "gbk").stdout
    assert "column '大类'\n" in out
    assert "nlphub doctor x.csv --label '大类' --encoding gbk" in out
    assert (load_recipe("x.yaml").data.label, load_recipe("x.yaml").data.encoding) == ("大类", "gbk")
    with pytest.raises(DataError, match="Did you mean '意图'"):
        run("init", "x.csv", "--label", "意 图", "--overwrite")


def test_init_says_what_has_to_be_mended_before_training(write: Write) -> None:
    write("x.csv", [*ROWS, ("", "退货"), ("没有", "")])
    result = run("init", "x.csv")
    assert "next:" not in result.stdout
    assert "line 11: the text is empty" in result.stderr
    assert "Mend the file first; then run: nlphub finetune x.yaml" in result.stderr


def test_init_of_a_file_in_the_bundle_writes_into_the_current_folder(write: Write) -> None:
    write("x.csv")
    run("init", "bundle:recipes/data/bank_intents/train.csv")
    assert load_recipe("train.yaml").data.train == str(BANK / "train.csv")
    assert not (BANK / "train.yaml").exists()


def test_the_recipe_runs_as_it_is(write: Write, small_folder: Path) -> None:
    """But for the module, which is smaller here, and the number of epochs."""
    import nlphub

    write("intents.csv", [(f"{text}{number}", label) for number in range(5) for text, label in ROWS])
    run("init", "intents.csv")
    recipe = load_recipe("intents.yaml", [f"module={{directory: {small_folder}}}", "train.epochs=1"])
    done = nlphub.finetune(recipe, progress=False)
    assert (done.judged_on, str(done.artefact)) == ("dev", "dist/intents")
    assert list(done.predictions) == list(recipe.examples)


def test_the_demo_data_are_clean() -> None:
    out = run("doctor", str(BANK / "train.csv"), "--against", str(BANK / "test.csv"), "--strict").stdout
    assert out.endswith("The doctor found nothing wrong.\n")


def test_doctor_tells_each_finding_with_its_places_and_how_to_see_more(write: Write) -> None:
    write("x.csv", [*ROWS, ("转人工", "退货"), ("轉人工", "查物流"), *[(f"打1380013800{n}", "转人工") for n in range(5)]])
    out = run("doctor", "x.csv").stdout
    assert "x.csv: 16 rows, texts in column '问题', labels in column '意图'" in out
    assert "personal         5 texts with personal data: mobile phone 5\n" in out
    assert "  - line 12  转人工  转人工" not in out
    assert "  - line 5   转人工  转人工  (the same to the tokenizer)\n    line 11  退货    转人工\n    line 12  查物流  轉人工\n" in out
    assert "  2 more: nlphub doctor x.csv --only personal --show 5\n" in out
    assert "打[手机号]" in out
    assert "1380013800" not in out
    assert "more: nlphub" not in run("doctor", "x.csv", "--only", "personal", "--show", "5").stdout
    assert "line 5" not in run("doctor", "x.csv", "--show", "0").stdout


def test_doctor_looks_for_leakage_against_other_files(write: Write) -> None:
    write("train.csv")
    write("dev.xlsx", [("轉人工", "转人工"), ("开张发票", "开票")])
    out = run("doctor", "train.csv", "--against", "dev.xlsx", "--at-least", "0").stdout
    assert "leakage  1 row also in train.csv: 1 of dev.xlsx\n" in out
    assert "  - train.csv, line 5  转人工  转人工\n    dev.xlsx, row 2    转人工  轉人工\n" in out
    assert "  - 开票: 1 example in dev.xlsx, none in train.csv\n" in out
    with pytest.raises(InputError, match=r"train\.csv is given twice"):
        run("doctor", "train.csv", "--against", "train.csv")
    write("other.csv", header=("text", "label"))
    with pytest.raises(DataError, match="no column '问题'"):
        run("doctor", "train.csv", "--against", "other.csv")


def test_a_case_of_many_rows_does_not_flood_the_screen(write: Write) -> None:
    write("x.csv", [*ROWS, *[("转人工", "转人工")] * 500])
    out = run("doctor", "x.csv", "--only", "duplicates").stdout
    assert "    and 493 more rows\n" in out
    assert out.count("转人工  转人工") == 8
    assert run("doctor", "x.csv", "--only", "duplicates", "--show", "600").stdout.count("转人工  转人工") == 501


def test_findings_are_exit_code_0_and_with_strict_1(write: Write) -> None:
    write("x.csv")
    run("doctor", "x.csv")
    run("doctor", "x.csv", "--strict", code=1)
    run("doctor", "x.csv", "--strict", "--at-least", "3")


def test_doctor_as_json_has_every_case(write: Write) -> None:
    write("x.csv", [*ROWS, ("转人工", "退货")])
    facts = json.loads(run("doctor", "x.csv", "--json", "--only", "conflicts").stdout)
    assert facts["files"]["x.csv"]["rows"] == 10
    (finding,) = facts["findings"]
    assert finding["cases"] == [
        {
            "note": "",
            "rows": [
                {"split": "x.csv", "line": 5, "text": "转人工", "label": "转人工"},
                {"split": "x.csv", "line": 11, "text": "转人工", "label": "退货"},
            ],
        }
    ]


def test_doctor_writes_a_masked_copy_and_never_over_another_file(write: Write) -> None:
    write("x.xlsx", [*ROWS, ("打13800138000", "转人工")])
    out = run("doctor", "x.xlsx", "--mask", "clean.csv").stdout
    assert "written: clean.csv (masked: mobile phone 1 in '问题')" in out
    assert load_data("clean.csv", text="问题", label="意图")["train"].texts[-1] == "打[手机号]"
    with pytest.raises(InputError, match="--overwrite"):
        run("doctor", "x.xlsx", "--mask", "clean.csv")
    assert json.loads(run("doctor", "x.xlsx", "--mask", "clean.csv", "--overwrite", "--json").stdout)["masked"] == {
        "问题": {"mobile phone": 1}
    }


def test_rows_that_cannot_be_read_are_told_when_a_masked_copy_lacks_them(write: Write) -> None:
    write("x.csv", [*ROWS, ("多", "一", "列")])
    result = run("doctor", "x.csv", "--mask", "clean.csv")
    assert "  - line 11  -    (3 fields, and the header has 2" in result.stdout
    assert "1 rows of x.csv cannot be read and are not in clean.csv" in result.stderr


def test_wrong_checks_and_limits_are_refused(write: Write) -> None:
    write("x.csv")
    with pytest.raises(InputError, match="Did you mean 'conflicts'"):
        run("doctor", "x.csv", "--only", "conflict")
    with pytest.raises(InputError, match="at_least is -1"):
        run("doctor", "x.csv", "--at-least", "-1")


@pytest.mark.parametrize("verb", ["init", "doctor"])
def test_a_file_that_is_not_there_is_exit_code_2_and_one_message(verb: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nlphub", verb, "intents.csv"], capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("nlphub: There is no file 'intents.csv'")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "train_in_test"), [("smp2017_ecdt", 0), ("cic", 1)])
def test_real_sets_are_understood_and_their_known_overlap_is_found(name: str, train_in_test: int, tmp_path: Path) -> None:
    import lzma

    folder = paths.real_data()
    if folder is None:
        pytest.skip("NLPHUB_DATA is not set: this test reads the labelled sets of a folder of real data")
    for split in ("train", "test"):
        packed = folder / "labelled" / name / f"{split}.jsonl.xz"
        (tmp_path / f"{split}.jsonl").write_bytes(lzma.decompress(packed.read_bytes()))
    facts = json.loads(run("init", str(tmp_path / "train.jsonl"), "--json").stdout)
    assert (facts["text"], facts["refused"]) == ("text", "")
    assert facts["label"] in ("label", "label_zh")
    files = (str(tmp_path / "train.jsonl"), "--against", str(tmp_path / "test.jsonl"))
    found = json.loads(run("doctor", *files, "--only", "leakage", "--json").stdout)["findings"]
    assert sum(finding["count"] for finding in found) == train_in_test
