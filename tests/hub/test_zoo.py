"""Which code is ever imported: the shipped module folders and those that a caller names; never what lies in the store."""

import inspect
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from nlphub import paths
from nlphub.errors import InputError, UnknownNameError
from nlphub.hub import store, zoo
from nlphub.hub.registry import find_module

ROOT = Path(__file__).parent.parent.parent
FILES = {
    "transformer.py": "class Body:\n    def __init__(self, **changes):\n        self.changes = changes\n\n\ntransformer = Body\n",
    "tokenizer.py": "def tokenizer(folder):\n    return str(folder)\n",
    "heads.py": "from .transformer import Body\n\nheads = {'seq-cls': Body}\n",
}

WriteModule = Callable[..., Path]


@pytest.fixture
def write_module(tmp_path: Path) -> WriteModule:
    """``write_module("name", **{"file.py": text})``: a module folder without torch."""

    def make(name: str, **changes: str) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        for file, text in (FILES | changes).items():
            (folder / file).write_text(text)
        return folder

    return make


@pytest.fixture(autouse=True)
def clean_zoo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(zoo, "_added", {})
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("nlphub.zoo."):
            del sys.modules[name]


@pytest.fixture
def shipped(write_module: WriteModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that this installation ships."""
    package = import_module("nlphub.zoo")  # before its bundle is another one
    write_module("modules/toy_shipped")
    (tmp_path / "registry.json").write_text('{"schema": 1, "modules": {}}')
    monkeypatch.setattr("nlphub.paths.bundle", lambda: tmp_path)
    monkeypatch.setattr(package, "__path__", [str(tmp_path / "modules")])
    return "toy_shipped"


def test_shipped_modules_are_ordinary_modules(shipped: str) -> None:
    parts = zoo.load(shipped)
    body = parts.transformer(layers=1)
    assert body.changes == {"layers": 1}
    assert parts.tokenizer(Path("x")) == "x"
    assert list(parts.heads) == ["seq-cls"]
    assert type(body).__module__ == "nlphub.zoo.toy_shipped.transformer"
    assert pickle.loads(pickle.dumps(body)).changes == {"layers": 1}
    assert "class Body" in inspect.getsource(type(body))
    assert zoo.names() == ["toy_shipped"]


def test_a_spawned_worker_unpickles_objects_of_shipped_modules() -> None:
    """With the real ernie_tiny, whose functions are found by name in a new process."""
    parts = zoo.load("ernie_tiny")
    code = "import pickle, sys; print(pickle.loads(sys.stdin.buffer.read()).__module__)"
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(parts.transformer), capture_output=True, cwd=ROOT, check=True)
    assert done.stdout.decode().strip() == "nlphub.zoo.ernie_tiny.transformer"


@pytest.mark.parametrize(
    "name", ["none", "", "os", "..", "ernie_tiny.transformer", "../modules/ernie_tiny", "toy-shipped", "Toy_shipped", "a b"]
)
def test_only_names_of_the_table_are_imported(shipped: str, name: str) -> None:
    with pytest.raises(UnknownNameError, match="This installation builds toy_shipped"):
        zoo.load(name)


def test_a_wrong_architecture_gets_the_nearest_one(shipped: str) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'toy_shipped'"):
        zoo.load("toy_ship")


@pytest.mark.parametrize("start", ["", "from .heads import heads\n"], ids=["namespace", "package"])
def test_a_callers_own_folder_joins_the_table(write_module: WriteModule, start: str) -> None:
    folder = write_module("mine", **({"__init__.py": start} if start else {}))
    write_module("neighbour")
    assert zoo.add_directory(folder) == "mine"
    assert zoo.add_directory(folder / ".." / "mine") == "mine"  # once more is no mistake
    assert "mine" in zoo.names()
    body = zoo.load("mine").heads["seq-cls"]()
    assert pickle.loads(pickle.dumps(body)).changes == {}
    assert "class Body" in inspect.getsource(type(body))
    with pytest.raises(ModuleNotFoundError):
        import_module("nlphub.zoo.neighbour")


def test_a_shipped_folder_may_be_named_too() -> None:
    assert zoo.add_directory(paths.bundle() / "modules" / "ernie_tiny") == "ernie_tiny"


def test_a_name_that_exists_is_refused(write_module: WriteModule) -> None:
    with pytest.raises(InputError, match=r"'ernie_tiny' is taken by a module that ships with nlphub: rename the folder"):
        zoo.add_directory(write_module("ernie_tiny"))
    first = write_module("a/mine")
    zoo.add_directory(first)
    with pytest.raises(InputError, match=f"'mine' is taken by {first}"):
        zoo.add_directory(write_module("b/mine"))


def test_every_mistake_of_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        zoo.add_directory(tmp_path / "not-mine")
    text = str(caught.value)
    assert all(
        expected in text for expected in ("'not-mine' would be a Python package", "no transformer.py", "no tokenizer.py", "no heads.py")
    )


def test_a_folder_that_defines_too_little_is_an_error(write_module: WriteModule) -> None:
    zoo.add_directory(write_module("mine", **{"heads.py": "head = {}\n"}))
    with pytest.raises(InputError, match=r"mine/heads\.py defines no 'heads'"):
        zoo.load("mine")


def test_a_folder_whose_import_fails_can_be_mended(write_module: WriteModule) -> None:
    folder = write_module("mine", **{"__init__.py": "1 / 0\n"})
    with pytest.raises(ZeroDivisionError):
        zoo.add_directory(folder)
    (folder / "__init__.py").write_text("done = True  # and longer than before\n")
    assert zoo.add_directory(folder) == "mine"


def test_the_store_is_refused_even_when_the_caller_names_it(
    write_module: WriteModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NLPHUB_HOME", str(tmp_path))
    for folder in (write_module("modules/toy/evil"), write_module("cache/datasets/evil")):
        with pytest.raises(InputError, match="it lies in the store, and what is downloaded is never run"):
            zoo.add_directory(folder)
    (tmp_path / "innocent").symlink_to(folder)
    with pytest.raises(InputError, match="it lies in the store"):
        zoo.add_directory(tmp_path / "innocent")


CANARIES = (
    "module.py",
    "__init__.py",
    "hubconf.py",
    "sitecustomize.py",
    "transformer.py",
    "tokenizer.py",
    "heads.py",
    "evil.pth",
    "config.py",
)
WATCH = """
import sys
from pathlib import Path
root = sys.argv[1]
def watch(event, arguments):
    if event in ("compile", "exec"):
        code = arguments[0] if event == "exec" else arguments[1]
        name = getattr(code, "co_filename", code)
        if isinstance(name, (str, bytes)) and str(name).startswith(root):
            print("EXECUTED", event, name, flush=True)
    if event == "open" and str(arguments[0]).startswith(root) and str(arguments[0]).endswith((".py", ".pyc", ".pth")):
        print("OPENED", arguments[0], flush=True)
    if event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "pickle.find_class"):
        print("RAN", event, arguments, flush=True)
sys.addaudithook(watch)
from importlib import import_module
from nlphub.errors import NlphubError
from nlphub.hub import registry, store, zoo
card = registry.find_module("ernie_tiny")
folder = store.install(card)
store.verify(card), store.installed(), registry.list_modules()
parts = zoo.load(card.architecture)
for name in ("evil", "toy", "modules", "module"):
    try:
        zoo.load(name)
    except NlphubError:
        print("refused", name)
    try:
        import_module(f"nlphub.zoo.{name}")
    except ModuleNotFoundError:
        print("not found", name)
for place in (folder, folder.parent, folder.parent.parent / "evil"):
    try:
        zoo.add_directory(place)
    except NlphubError:
        print("refused", place.name)
print("done")
"""


def test_no_code_in_the_store_is_ever_opened_or_run(private_home: Path) -> None:
    folder = store.install(find_module("ernie_tiny"))
    for place in (private_home, folder.parent.parent, folder.parent, folder, folder.parent.parent / "evil"):
        place.mkdir(exist_ok=True)
        for name in CANARIES:
            (place / name).write_text("print('CANARY')\n")
    done = subprocess.run([sys.executable, "-c", WATCH, str(private_home)], capture_output=True, text=True, cwd=ROOT, check=True)
    expected = [f"{verdict} {name}" for name in ("evil", "toy", "modules", "module") for verdict in ("refused", "not found")]
    expected += [f"refused {place}" for place in (folder.name, "ernie_tiny", "evil")]
    assert done.stdout.splitlines() == [*expected, "done"]


def test_the_watch_of_the_canary_test_bites(private_home: Path, tmp_path: Path) -> None:
    """Its negative control: code that is imported from the watched folder is reported."""
    evil = private_home / "evil"
    evil.mkdir(parents=True)
    (evil / "canary.py").write_text("print('CANARY')\n")
    code = WATCH.partition("from importlib")[0] + f"sys.path.insert(0, {str(evil)!r})\nimport canary"
    done = subprocess.run([sys.executable, "-c", code, str(private_home)], capture_output=True, text=True, cwd=ROOT, check=True)
    assert "CANARY" in done.stdout
    assert "EXECUTED exec" in done.stdout
    assert "OPENED" in done.stdout


def test_every_shipped_module_loads() -> None:
    names = zoo.names()
    assert "ernie_tiny" in names
    loaded: dict[str, Any] = {name: zoo.load(name) for name in names}
    assert all(parts.heads for parts in loaded.values())
