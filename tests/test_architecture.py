"""The shape of the house: who may import whom, what starts light, which folders hold no code, what the package promises."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import nlphub

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "datasets", "jieba", "rjieba", "pandas", "onnxruntime", "matplotlib", "transformers")
FILES = sorted((ROOT / "nlphub").rglob("*.py"))
WRITE_THEMSELVES = {
    ("compress/compare.py", "figure.savefig"): "into a string",
    ("evaluation/curves.py", "figure.savefig"): "into a string",
    ("export/onnx.py", "onnx.save"): "the library's own writer, into a folder that publish_folder publishes whole",
    ("hub/part.py", "os.fdopen"): "a download grows under a name of its own; files.publish_file moves it when it is verified",
    ("runtime/cluster.py", "place.write_bytes"): "into a temporary folder of a worker, which is gone when the artefact is open",
    ("training/metrics_log.py", "self.path.open"): "metrics.jsonl only grows, line by line; a torn last line is dropped on resuming",
    ("training/state.py", "save_file"): "streams all moments into a folder that publish_folder publishes whole",
}
WRITERS = re.compile(
    r"(.*\.)?(write_text|write_bytes|touch|save_file|savefig|savez\w*|copyfile|copytree)"
    r"|shutil\.(copy\w*|move)|(onnx|torch|np|numpy)\.save"
)


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout


def test_rooms_import_downwards_only() -> None:
    done = subprocess.run([Path(sys.executable).with_name("lint-imports"), "--no-cache"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "arguments", [["--help"], ["list"], ["list", "--json"], ["search", "ernie"], ["show", "ernie_tiny"], ["recipe", "list"]], ids=" ".join
)
def test_light_commands_load_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys, contextlib, io\n"
        "from nlphub.cli.app import app\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        f"    app({arguments!r}, standalone_mode=False)\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    assert run(code).strip() == "[]"


def test_help_loads_neither_numpy_nor_pydantic() -> None:
    assert run("import sys, nlphub.cli.app; print({'numpy', 'pydantic'} & set(sys.modules))").strip() == "set()"


def test_importing_nlphub_loads_nothing_but_the_standard_library() -> None:
    code = "import sys; before = set(sys.modules); import nlphub; print(sorted({n.split('.')[0] for n in set(sys.modules) - before}))"
    added = set(ast.literal_eval(run(code)))
    assert added - set(sys.stdlib_module_names) == {"nlphub"}


def test_the_runtime_room_loads_no_torch() -> None:
    assert run("import sys, nlphub.runtime.predictor, nlphub.text.tokenizers, nlphub.data.read; print('torch' in sys.modules)") == "False\n"


def test_public_names_are_sorted_complete_and_resolve() -> None:
    assert nlphub.__all__ == sorted(nlphub.__all__)
    assert set(nlphub.__all__) - {"__version__"} == set(nlphub._HOMES)
    for name in nlphub.__all__:
        assert getattr(nlphub, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Modul'"):
        nlphub.Modul  # noqa: B018


def test_every_public_name_is_documented() -> None:
    missing = [name for name in nlphub.__all__ if name != "__version__" and not (getattr(nlphub, name).__doc__ or "").strip()]
    assert missing == []


def test_asset_folders_hold_no_code_that_could_shadow_a_package() -> None:
    assert not list((ROOT / "tokenizers").rglob("*.py")), "tokenizers/ must not shadow Hugging Face's package"
    assert not list((ROOT / "recipes").rglob("*.py"))
    assert not (ROOT / "modules" / "__init__.py").exists()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_says_what_it_is_and_fits_in_one_sitting(path: Path) -> None:
    text = path.read_text("utf-8")
    assert ast.get_docstring(ast.parse(text)), "a module docstring is missing"
    assert text.count("\n") <= 350, "split it: one file, one job"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_ever_unpickled_or_extracted(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    imported = {alias.name.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {(node.module or "").partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not imported & {"pickle", "marshal", "shelve", "joblib", "dill", "tarfile"}
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not calls & {"eval", "exec", "torch.load", "np.load", "numpy.load", "yaml.load", "os.system"}
    assert not [call for call in calls if call.endswith((".extract", ".extractall", ".loads")) and not call.startswith("json.")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_paths_reads_the_environment(path: Path) -> None:
    if path.name != "paths.py":
        assert not re.search(r"os\.(environ|getenv)", path.read_text("utf-8")), "read it in paths.py"


def test_files_are_written_only_through_files_py() -> None:
    """Whoever writes in place can be killed halfway: see ``nlphub.files``. Each exception says why it is one, and is still needed."""
    found = {(path.relative_to(ROOT / "nlphub").as_posix(), call) for path in FILES for call in _writes(ast.parse(path.read_text("utf-8")))}
    found = {(path, call) for path, call in found if path != "files.py"}
    assert found == set(WRITE_THEMSELVES)


@pytest.mark.parametrize(
    "code",
    [
        "open(path, 'w')", "open(path, mode='ab')", "path.open('wb')", "path.open('r+')", "path.open(mode='x')", "os.fdopen(handle, 'wb')",
        "path.write_text('')", "path.write_bytes(b'')", "path.touch()", "save_file({}, path)", "safetensors.torch.save_file({}, path)",
        "shutil.copy(a, b)", "shutil.copytree(a, b)", "copyfile(a, b)", "shutil.move(a, b)", "onnx.save(graph, path)",
        "torch.save(x, path)",
        "np.save(path, x)", "figure.savefig(path)", "np.savez(path, x)",
    ],
)  # fmt: skip
def test_the_watch_over_writes_bites(code: str) -> None:
    assert list(_writes(ast.parse(code)))


@pytest.mark.parametrize("code", ["open(path)", "open(path, 'rb')", "path.open('rb')", "path.open(encoding='w')", "module.save(folder)"])
def test_the_watch_over_writes_lets_reading_pass(code: str) -> None:
    assert not list(_writes(ast.parse(code)))


def test_the_changelog_knows_this_version() -> None:
    assert f"## {nlphub.__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_source_distribution_holds_what_its_tests_read() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    held = {path.removeprefix("/") for path in pyproject["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]}
    assert [path for path in sorted(held) if not (ROOT / path).exists()] == []
    held |= {"README.md", "LICENSE", "pyproject.toml"}  # hatchling adds these itself
    named = {name for path in (ROOT / "tests").rglob("*.py") for name in re.findall(r'ROOT / "([.\w]+)"', path.read_text("utf-8"))}
    assert named | {"README.zh.md", "CONTRIBUTING.md", "scripts", ".ci"} <= held


def test_the_registry_is_sorted_and_pretty() -> None:
    text = (ROOT / "registry.json").read_text("utf-8")
    assert text == json.dumps(json.loads(text), ensure_ascii=False, indent=2, sort_keys=True) + "\n"


def _writes(tree: ast.AST) -> Iterator[str]:
    """The names of all calls that write a file without publishing it."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if WRITERS.fullmatch(name) or (name.rpartition(".")[2] in ("open", "fdopen") and set("wax+") & set(_mode(node, name))):
            yield name


def _mode(node: ast.Call, name: str) -> str:
    """The mode of an ``open(path, mode)`` or ``path.open(mode)``."""
    place = int(name in ("open", "io.open", "os.fdopen"))
    given = [*node.args[place : place + 1], *(keyword.value for keyword in node.keywords if keyword.arg == "mode")]
    return next((str(mode.value) for mode in given if isinstance(mode, ast.Constant)), "r")
