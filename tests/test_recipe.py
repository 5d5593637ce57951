"""Recipes: what they may say, what is refused, and that every mistake is named with its place, all at once."""

import io
import json
import re
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from nlphub import paths
from nlphub.errors import RecipeError, UnknownNameError
from nlphub.recipe import Recipe, TrainSettings, load_recipe, recipe_names, recipe_path, safe_yaml

MINIMAL = "module: {name: ernie_tiny}\ntask: seq-cls\ndata: {train: train.csv}\nrun: {folder: runs/x}\n"


@pytest.fixture
def recipe(tmp_path: Path) -> Any:
    """Writes a recipe and returns its path."""

    def write(text: str | bytes, name: str = "mine.yaml") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def problems(path: Path, *overrides: str) -> list[str]:
    """What is wrong with a recipe, without its folder."""
    with pytest.raises(RecipeError) as raised:
        load_recipe(path, overrides)
    return [problem.replace(f"{path.parent}/", "") for problem in raised.value.problems]


def read(text: str) -> Any:
    return safe_yaml.read(text, name="x.yaml").value


# ---- YAML --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("5E3", 5e3),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("010", 10),
        ("0o17", 15),
        ("0xff", 255),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("2026-01-01", "2026-01-01"),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("<<", "<<"),
        ("=", "="),
        ("'1e-5'", "1e-5"),
        ('"\\u9000"', "退"),
        ("!!str 3", "3"),
        ("!!float 3", 3.0),
        ("退货", "退货"),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: Any) -> None:
    found = read(f"key: {text}\n")["key"]
    assert (found, type(found)) == (value, type(value))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8"), max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=6), inner, max_size=3),
    max_leaves=12,
)
LOOKALIKES = st.sampled_from(
    ["1e-5", "no", "12:30", "010", "0o7", "~", "", "1_0", "<<", "0x1F", "-", "2026-01-01", ".inf", "null", "a: b", "#", "😀", "\x85"]
)


@settings(suppress_health_check=[HealthCheck.too_slow])  # the first draw is slow on a busy machine
@given(value=st.dictionaries(LOOKALIKES, VALUES | LOOKALIKES, max_size=4))
def test_what_is_written_reads_back_equal_here_and_as_yaml_1_1(value: dict[str, Any]) -> None:
    text = safe_yaml.dump(value)
    assert read(text) == value
    assert yaml.safe_load(text) == value


def test_lines_of_values_are_known() -> None:
    document = safe_yaml.read("a:\n  b: 1\n  c: [x,\n    {d: 2}]\n", name="x.yaml")
    assert document.lines == {(): 1, ("a",): 1, ("a", "b"): 2, ("a", "c"): 3, ("a", "c", 0): 3, ("a", "c", 1): 4, ("a", "c", 1, "d"): 4}


def test_sixteen_levels_are_read_and_seventeen_refused() -> None:
    assert read("[" * 16 + "]" * 16) is not None
    with pytest.raises(RecipeError, match=r"x\.yaml:1:17: nested deeper than 16 levels"):
        read("[" * 17 + "]" * 17)


def test_the_size_is_limited_before_anything_is_parsed(recipe: Any) -> None:
    path = recipe(MINIMAL + "#" * safe_yaml.MAX_BYTES)
    with pytest.raises(RecipeError, match="larger than 256 KiB"):
        load_recipe(path)
    with pytest.raises(RecipeError, match="larger than 256 KiB"):
        load_recipe(recipe(("#退" * safe_yaml.MAX_BYTES).encode()))


HOSTILE = [
    "!!python/object/apply:os.system ['touch {mark}']",
    "!!python/object/new:os.system ['touch {mark}']",
    "!!python/name:os.system",
    "!!python/module:os",
    "!!python/tuple [1, 2]",
    "!!binary aGk=",
    "!!set {{a, b}}",
    "!!omap [a: 1]",
    "!!timestamp 2026-01-01",
    "!include /etc/passwd",
    "!env HOME",
    "!<tag:yaml.org,2002:python/none> ''",
    "module: !!python/object:nlphub.Module {{}}",
    "? !!python/name:os.system\n: 1",
    "a: &a [x]\nb: *a",
    "a: &a {{b: *a}}",
    "&a [*a]",
    "a: &a [l,l]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: [*c,*c]",
    "base: &base {{x: 1}}\ntrain:\n  <<: *base",
    "<<: {{task: seq-cls}}",
    "_target_: os.system",
    "__class__: os.system",
    "__init__: {{x: 1}}",
    "model_config: {{extra: allow}}",
    "module: {{name: ernie_tiny, __dict__: {{}}}}",
    "train: {{model_fields: 1}}",
    "data: ${{oc.env:HOME}}",
    "data: {{train: a.csv, __proto__: 1}}",
    "{{" * 100_000,
    "[" * 100_000,
    "- " * 50_000,
    "? " * 50_000,
    "a: " * 50_000,
    "\n".join(" " * depth + "a:" for depth in range(500)),
    "{{a: " * 1000 + "1" + "}}" * 1000,
    "'" * 100_001,
    '"' + "\\x00" * 10_000,
    "a: " + "9" * 100_000,
    "a: 0x" + "f" * 100_000,
    "a: !!int abc",
    "a: !!bool maybe",
    "a: !!float 1:30",
    "a: 1\na: 2",
    "task: seq-cls\ntask: seq-cls",
    "[a, b]: 1",
    "{{a: 1}}: 2",
    "? [1]\n: 2",
    "a\n---\nb",
    "--- a\n--- b",
    "%YAML 3.0\n---\na: 1",
    "%TAG ! tag:evil,2026:\n---\n!x a",
    "a: b: c",
    "a:\n\t- b",
    "a: [1, 2",
    "a: 'x",
    "a: @x",
    "a: `x`",
    "a: %x",
    "\x00",
    "a: \x07",
    "a: \ufffe",
    "",
    "   \n\n",
    "# only a comment",
    "null",
    "3",
    "- a",
    "just words",
    "🙂: 🙂",
    "1: 2",
    "true: false",
    "~: ~",
    ".nan: .nan",
    "a: |\n  x\n b",
    "data: {{train: 'bundle:../../../etc/passwd'}}",
    "data: {{train: \"a\\0b\"}}",
    "data: {{train: ~nobody/x.csv, dev: ~~}}",
    "examples: [!!python/none x]",
    "train: {{epochs: 1e400, learning_rate: .nan, seed: -1}}",
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_recipes_are_refused_quickly_with_a_place_and_nothing_happens(recipe: Any, tmp_path: Path, number: int) -> None:
    mark = tmp_path / "pwned"
    path = recipe(HOSTILE[number].format(mark=mark))
    started = time.process_time()
    with pytest.raises(RecipeError) as raised:
        load_recipe(path)
    assert time.process_time() - started < 10, "bounded work; a hundred times less is usual"
    assert str(path) in str(raised.value)
    assert len(str(raised.value)) < 10_000
    assert raised.value.exit_code == 2
    assert not mark.exists()


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_overrides_are_refused_too(recipe: Any, tmp_path: Path, number: int) -> None:
    mark = tmp_path / "pwned"
    with pytest.raises(RecipeError):
        load_recipe(recipe(MINIMAL), [f"module.name={HOSTILE[number].format(mark=mark)}", "train.epochs=none"])
    assert not mark.exists()


# ---- the schema --------------------------------------------------------------------------------------------------------------------


def test_a_minimal_recipe_has_all_defaults(recipe: Any) -> None:
    loaded = load_recipe(recipe(MINIMAL))
    assert loaded.train == TrainSettings(metric="macro_f1"), "the score that decides is written out"
    assert (loaded.export.folder, loaded.examples, loaded.data.text, loaded.data.split) == (None, (), "text", {})


def test_recipes_are_frozen(recipe: Any) -> None:
    with pytest.raises(ValidationError):
        load_recipe(recipe(MINIMAL)).train.epochs = 3


def test_all_mistakes_are_reported_at_once_with_file_and_line(recipe: Any) -> None:
    path = recipe(
        "module:\n  nam: ernie_tiny\ntask: seqcls\ntask: b\ndata:\n  train: a.csv\n  split: {dev: 1.5}\n"
        "train:\n  epochs: three\n  learnig_rate: 1e-4\n  evaluate_every: weekly\n  class_weights: {0: -1, a: 3.0}\n"
        "  schedule: lin\n  dropout:\n    - 1\n  batch_size: '16'\n  clip: 0\n  seed: 1.5\nexamples: [3, ok]\nrun:\n"
    )
    found = problems(path, "train.epoch=3", "nonsense", "data.=x", "task.name=x", "train.label_smoothing=[*x]")
    expected = [
        r"mine\.yaml:4: 'task' is given twice; first on line 3",
        r"override 'nonsense': an override is section\.key=value, e\.g\. train\.epochs=3",
        r"override 'data\.=x': an override is section\.key=value.*",
        r"override 'task\.name=x': task is a single value and has no key 'name'",
        r"override 'train\.label_smoothing=\[\*x\]':1:2: the alias \*x is refused; write it out",
        r"mine\.yaml:2: module\.nam is unknown\. Did you mean 'name'\? Known here: name, version, directory, variant",
        r"mine\.yaml:3: task should be 'seq-cls', .* or '[a-z-]+', not 'seqcls'",
        r"mine\.yaml:7: data\.split\.dev should be less than 1, not 1\.5",
        r"mine\.yaml:9: train\.epochs should be a valid integer, not 'three'",
        r"mine\.yaml:16: train\.batch_size should be a valid integer, not '16'",
        r"mine\.yaml:13: train\.schedule should be 'linear', 'cosine' or 'constant', not 'lin'",
        r"mine\.yaml:17: train\.clip should be greater than 0, not 0",
        r"mine\.yaml:14: train\.dropout should be a valid number, not \[1\]",
        r"mine\.yaml:12: train\.class_weights should be greater than 0, not -1",
        r"mine\.yaml:18: train\.seed should be a valid integer, not 1\.5",
        r"mine\.yaml:11: train\.evaluate_every should be 'epoch' or should be a valid integer, not 'weekly'",
        r"mine\.yaml:10: train\.learnig_rate is unknown\. Did you mean 'learning_rate'\? Known here: epochs, .*",
        r"override 'train\.epoch=3': train\.epoch is unknown\. Did you mean 'epochs'\? Known here: epochs, .*",
        r"mine\.yaml:20: run should be a section, not empty; its keys: folder",
        r"mine\.yaml:19: examples\.0 should be a valid string, not 3",
    ]
    assert len(found) == len(expected)
    for problem, pattern in zip(found, expected, strict=True):
        assert re.fullmatch(pattern, problem), (problem, pattern)


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["module.directory=somewhere"], "module contradicts itself: give either a name (nlphub list) or a directory"),
        (["module={directory: x, version: 1.0.0}"], "module contradicts itself: a version belongs to a name, not to a directory"),
        (
            ["data.dev=d.csv", "data.split={dev: 0.1}"],
            "data contradicts itself: 'dev' is given both as data.dev and in data.split; keep one",
        ),
        (["data.split={dev: 0.5, test: 0.5}"], "data contradicts itself: the shares in split add up to 1 and leave nothing to train on"),
        (["data.split={devel: 0.1}"], "data contradicts itself: split can cut off 'dev' and 'test', not 'devel'"),
        (["data={text: x}"], "data.train is missing"),
        (["module.version=1.0"], "module.version should be a valid string, not 1.0"),
        (["train.learning_rate=.inf"], "train.learning_rate should be a finite number, not inf"),
        (["train.epochs=true"], "train.epochs should be a valid integer, not True"),
        (
            ["export={}", "exprot.folder=x"],
            "exprot is unknown. Did you mean 'export'? "
            "Known here: module, task, data, train, distill, calibration, run, export, examples, tune",
        ),
    ],
)
def test_contradictions_and_wrong_values_are_explained(recipe: Any, overrides: list[str], problem: str) -> None:
    (found,) = problems(recipe(MINIMAL), *overrides)
    assert found.endswith(f": {problem}")


def test_labels_that_are_numbers_are_keys_of_class_weights(recipe: Any) -> None:
    loaded = load_recipe(recipe(MINIMAL), ["train.class_weights={0: 1, 退货: 2.5}"])
    assert loaded.train.class_weights == {"0": 1.0, "退货": 2.5}


def test_overrides_are_yaml_replace_what_was_there_and_the_last_one_wins(recipe: Any) -> None:
    loaded = load_recipe(
        recipe(MINIMAL + "train: {epochs: 3, patience: 2}\n"),
        [
            "train.learning_rate=1e-3",
            "data.split={dev: 0.2}",
            "train.patience=",
            "train.epochs=4",
            "train.epochs=5",
            "examples=[你好, 再见]",
            "export.folder=a=b",
        ],
    )
    assert (loaded.train.learning_rate, loaded.train.patience, loaded.train.epochs) == (1e-3, None, 5)
    assert (loaded.data.split, loaded.examples, loaded.export.folder) == ({"dev": 0.2}, ("你好", "再见"), "a=b")
    replaced = load_recipe(recipe(MINIMAL + "train: {epochs: 3}\n"), ["train={seed: 7}"])
    assert replaced.train == TrainSettings(seed=7, metric="macro_f1")


# ---- paths -------------------------------------------------------------------------------------------------------------------------


def test_files_to_read_are_relative_to_the_recipe_and_in_overrides_to_the_current_folder(
    recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    path = recipe(MINIMAL.replace("train: train.csv", "train: sub/train.csv, dev: /abs/dev.csv"))
    loaded = load_recipe(path, ["data.test=test.csv", "module={directory: base}"])
    assert loaded.data.sources == {"train": str(tmp_path / "sub/train.csv"), "dev": "/abs/dev.csv", "test": str(elsewhere / "test.csv")}
    assert loaded.module.directory == str(elsewhere / "base")
    assert loaded.run.folder == "runs/x", "what is written goes to the current folder, not beside the recipe"
    assert load_recipe(path, ["data={train: t.csv}"]).data.train == str(elsewhere / "t.csv")
    monkeypatch.chdir(tmp_path)
    assert load_recipe("mine.yaml") == load_recipe(path)


def test_bundled_and_hub_sources_stay_portable(recipe: Any) -> None:
    loaded = load_recipe(recipe(MINIMAL), ["data.train=bundle:recipes/data/x.csv", "data.dev=hf://org/name#dev"])
    assert loaded.data.sources == {"train": "bundle:recipes/data/x.csv", "dev": "hf://org/name#dev"}
    assert "outside the bundle" in problems(recipe(MINIMAL), "data.train=bundle:../x")[0]


def test_a_recipe_comes_from_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(MINIMAL.encode())))
    assert load_recipe("-").data.train == str(tmp_path / "train.csv")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"task: x")))
    with pytest.raises(RecipeError, match="<stdin>:1: task should be"):
        load_recipe("-")


def test_a_file_that_is_missing_or_a_folder_or_not_utf8_is_named(recipe: Any, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"absent\.yaml cannot be read: No such file"):
        load_recipe(tmp_path / "absent.yaml")
    with pytest.raises(RecipeError, match="cannot be read: Is a directory"):
        load_recipe(tmp_path)
    with pytest.raises(RecipeError, match=r"mine\.yaml:2: byte 0xcd is not UTF-8"):
        load_recipe(recipe("task: seq-cls\nrun: 退".encode("gb18030")))


def test_a_byte_order_mark_and_windows_line_ends_are_fine(recipe: Any) -> None:
    assert load_recipe(recipe(MINIMAL.replace("\n", "\r\n").encode("utf-8-sig"))).task == "seq-cls"


# ---- names, copies, digests --------------------------------------------------------------------------------------------------------


def test_a_shipped_recipe_is_found_by_name_and_a_wrong_name_gets_near_ones() -> None:
    assert load_recipe("intent") == load_recipe(recipe_path("intent"))
    with pytest.raises(UnknownNameError, match=r"no recipe 'intnt'\. Did you mean 'intent' or 'joint'\?"):
        load_recipe("intnt")
    assert recipe_names() == sorted(path.stem for path in (paths.bundle() / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("source", ["q.csv", "folder/问题.XLSX", Path("q.jsonl")], ids=str)
def test_a_file_of_data_is_no_recipe_and_the_way_to_one_is_said(source: str | Path) -> None:
    with pytest.raises(RecipeError, match=f"is a file of data, not a recipe; .* nlphub init {source}"):
        load_recipe(source)


def test_the_resolved_recipe_reads_back_as_an_equal_one(recipe: Any) -> None:
    loaded = load_recipe(recipe(MINIMAL), ["train.class_weights={no: 1e-5, '1e5': 2}", "examples=['12:30', '~', '- 退']", "data.text='on'"])
    again = load_recipe(recipe(loaded.to_yaml(), "resolved.yaml"))
    assert again == loaded
    assert again.digest() == loaded.digest()
    assert set(yaml.safe_load(loaded.to_yaml())) == set(Recipe.model_fields)


def test_the_digest_changes_with_any_value(recipe: Any) -> None:
    path = recipe(MINIMAL)
    changes = [[], ["train.seed=1"], ["run.folder=y"], ["data.text=问"], ["examples=[a]"], ["train.epochs=10.0e0"]]
    digests = [load_recipe(path, change).digest() for change in changes[:-1]]
    assert len(set(digests)) == len(digests)
    assert re.fullmatch("[0-9a-f]{64}", digests[0])
    assert json.loads(load_recipe(path).model_dump_json())["train"]["seed"] == 0
