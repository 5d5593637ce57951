"""What may be called what: module names, versions, file paths and sources, by one strict rule on every platform.

A registry from elsewhere is untrusted input, and its strings become folder names, file names and addresses. Each ``check_*`` returns
its argument or raises a ``ValueError`` that says which rule it breaks.
"""

import re
from pathlib import PurePosixPath
from urllib.parse import urlsplit

RAW_SUFFIXES = (".bin", ".pdparams", ".pickle")  # of files of others that are converted, and never get into the store as they are
DATA_SUFFIXES = (".json", ".jsonl", ".model", ".onnx", ".safetensors", ".tsv", ".txt")  # a downloaded module is data: no code, no pickles
CARD = "card.md"  # what a published module says about itself, beside its data
REMOTE = ("http://", "https://", "hf://")  # sources that need a network

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_ALIAS = re.compile(r"([a-z0-9]+([._-][a-z0-9]+)*/)?[a-z0-9]+([._-][a-z0-9]+)*")
_VERSION = re.compile(r"(0|[1-9][0-9]{0,8})(\.(0|[1-9][0-9]{0,8})){1,3}")
_FOLDER_OR_FILE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_HUB = re.compile(
    r"hf://(?P<repository>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)@(?P<revision>[A-Za-z0-9][\w.-]{0,63})/(?P<path>[\w.-]+(/[\w.-]+)*)",
    re.ASCII,
)
_COMMIT = re.compile("[0-9a-f]{40}")
_SHORTENED = re.compile("[0-9a-fA-F]{7,}")  # a commit that is not whole, or badly written: nobody calls a branch so
_DEPTH = 4  # folders and file of one path
_RESERVED = {"lock.json"}  # the store's own
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))}  # on Windows


def check_name(name: str) -> str:
    """A module's name is also a folder and a Python package: ``ernie_tiny``."""
    if len(name) > 64 or not _NAME.fullmatch(name):
        raise ValueError("a name has small Latin letters, digits and single '_' inside, starts with a letter and has at most 64 characters")
    return name


def check_alias(alias: str) -> str:
    """An alias may have '-' and '.' too, and an organisation: ``ernie-3.0-medium``, ``hfl/rbt3``."""
    if len(alias) > 64 or not _ALIAS.fullmatch(alias):
        raise ValueError(
            "an alias has small Latin letters, digits and single '-', '.' or '_' inside, one '/' at most, and at most 64 characters"
        )
    return alias


def check_version(version: str) -> str:
    """``1.0``, ``1.2.3``: two to four numbers."""
    if not _VERSION.fullmatch(version):
        raise ValueError("a version is two to four numbers with dots between, e.g. 1.0.0")
    return version


def check_path(path: str) -> str:
    """A file inside a module's folder: ``vocab.txt``, ``onnx/model.onnx``; safe on POSIX and on Windows alike."""
    return _check_file(path, DATA_SUFFIXES)


def check_raw_path(path: str) -> str:
    """A file of others before it is converted; it may be a pickle, which nothing here unpickles."""
    return _check_file(path, DATA_SUFFIXES + RAW_SUFFIXES)


def _check_file(path: str, suffixes: tuple[str, ...]) -> str:
    parts = path.split("/")
    if len(parts) > _DEPTH or not all(_FOLDER_OR_FILE.fullmatch(part) for part in parts):
        raise ValueError(
            "a file path has at most 4 parts with '/' between; each starts with a small Latin letter or digit, "
            "goes on with those or '.', '_', '-', and has at most 64 characters"
        )
    if any(part.endswith(".") or ".." in part for part in parts):
        raise ValueError("no part of a file path has '..' in it or ends in '.'")
    if any(part.partition(".")[0] in _DEVICES for part in parts):
        raise ValueError("a part of this file path is the name of a device on Windows")
    if path != CARD and not path.endswith(suffixes):
        raise ValueError(f"a module is data only; its files end in {', '.join(suffixes)}")
    if path in _RESERVED:
        raise ValueError("this name belongs to the store")
    return path


def check_source(source: str) -> str:
    """Where a file comes from: ``bundle:path``, ``file:///path``, ``http(s)://host/path`` or ``hf://org/repo@revision/path``."""
    if len(source) > 2048 or not source.isascii() or not source.isprintable() or " " in source:
        raise ValueError("a source is at most 2048 printable ASCII characters without spaces")
    if source.startswith("bundle:"):
        _check_inside(source.removeprefix("bundle:"))
    elif source.startswith("hf://"):
        _check_inside(split_hub(source)[2])
    elif source.startswith("file://"):
        if not source.startswith("file:///"):
            raise ValueError("a file source is file:///absolute/path")
    elif not source.startswith(REMOTE):
        raise ValueError("a source starts with bundle:, file://, http://, https:// or hf://")
    else:
        _check_address(source)
    return source


def check_base(base: str) -> str:
    """The place of several files: a source without its last part, ``hf://org/repo@main``, ``https://host/folder``, ``file:///folder``."""
    if base.startswith("bundle:") or base.endswith("/") or "?" in base:
        raise ValueError("a place of files is no bundle, has no '?query', and no '/' at its end")
    check_source(f"{base}/config.json")
    return base


def split_hub(source: str) -> tuple[str, str, str]:
    """Repository, revision and path of ``hf://org/repo@revision/path``; the revision is a whole commit, or the name of a branch or tag."""
    found = _HUB.fullmatch(source)
    if not found or ".." in found["revision"]:
        raise ValueError("a Hugging Face source is hf://org/repo@revision/path; the revision is a commit, or the name of a branch or tag")
    if _SHORTENED.fullmatch(found["revision"]) and not is_commit(found["revision"]):
        raise ValueError("the revision looks like a commit, and a commit has 40 hexadecimal digits, small ones")
    return found["repository"], found["revision"], found["path"]


def is_commit(revision: str) -> bool:
    """Whether a revision names its files for ever."""
    return _COMMIT.fullmatch(revision) is not None


def is_remote(source: str) -> bool:
    """Whether a source needs a network."""
    return source.startswith(REMOTE)


def normal(name: str) -> str:
    """The form in which names and aliases are compared: ``ERNIE-3.0-tiny`` and ``ernie_3_0_tiny`` are one name."""
    return re.sub(r"[.\-]", "_", name.strip().lower())


def check_no_overlap(files: tuple[str, ...]) -> None:
    """Files of one module: no path twice, and no path that is another one's folder."""
    folders = {str(parent) for path in files for parent in PurePosixPath(path).parents}
    repeated = sorted({path for path in files if files.count(path) > 1 or path in folders})
    if repeated:
        raise ValueError(f"{', '.join(repeated)}: more than one file of this path, or it is both a file and a folder")


def _check_address(address: str) -> None:
    split = urlsplit(address)
    if not split.hostname or split.port == 0 or "@" in split.netloc or split.fragment:
        raise ValueError("an address has a host, and neither a user name nor a '#fragment'")


def _check_inside(path: str) -> None:
    if not path or path.startswith("/") or "\\" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise ValueError("the path in a source is relative, with '/' between, and without '.' or '..'")
