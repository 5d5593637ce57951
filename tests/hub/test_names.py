"""Names from a registry become folders, files and addresses, so hostile ones are refused on every platform."""

import string
from pathlib import Path, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlphub.hub import names

TRAVERSAL = [
    "..", "../x.json", "../../x.json", "a/../x.json", "a/../../x.json", "a/..", "a/../..", "./x.json", "a/./x.json", ".", "/", "//",
    "///x.json", "/x.json", "/etc/passwd", "//server/share/x.json", "a//x.json",
    "a/", "a/x.json/", "~/x.json", "~root/x.json", "..x.json", "a..x.json",
    "x..json", "a/..b/x.json", "...", "....json", "a/.../x.json", ".hidden.json", "a/.git/config.json", ".x.json",
]  # fmt: skip
WINDOWS = [
    "..\\x.json", "a\\x.json", "\\x.json", "\\\\server\\share\\x.json", "\\\\?\\c:\\x.json", "c:x.json", "c:/x.json", "c:\\x.json",
    "x.json:stream", "x:$data.json", "con.json", "con", "prn.txt", "aux.json", "nul.json", "nul", "com0.json", "com1.json", "com9.txt",
    "lpt0.txt", "lpt1.json", "lpt9.json", "a/con.json", "con/x.json", "a/nul/x.json", "aux.x.json", "conin$.json", "conout$.json",
    "x.json.", "x.json ", "x.json. .", "a./x.json", "a /x.json", " x.json", "x<y.json", "x>y.json", "x|y.json", 'x".json', "x?.json",
    "x*.json", "com1/x.json", "lpt3.a.b.txt",
]  # fmt: skip
CONTROL = [
    "", " ", "\0", "x\0.json", "x.json\0", "x\n.json", "x.json\n", "x\r.json", "x\t.json", "\x1b[2Jx.json", "x\x7f.json", "x\u0085.json",
    "x\u2028.json", "x\u202ejson.txt", "x\u200b.json", "x\ufeff.json", "\ud800.json", "x y.json", "%2e%2e/x.json", "..%2fx.json",
    "x%00.json", "$home.json", "${x}.json", "`x`.json", "x;y.json", "x&y.json", "x'y.json", "-x.json", "--help.json", "_x.json", "x~y.json",
    "x#y.json", "x@y.json", "x=y.json", "x,y.json", "x(y).json", "x[y].json", "x{y}.json", "x!y.json", "x+y.json",
]  # fmt: skip
UNICODE = [
    "vocаb.txt",
    "ｖocab.txt",
    "词表.txt",
    "café.json",
    "cafe\u0301.json",
    "ß.json",
    "ﬁle.json",
    "x．json",
    "x∕y.json",
    "x／y.json",
    "١.json",
]
CASE = ["X.json", "x.JSON", "A/x.json", "vocaB.txt", "README.txt"]
LONG = ["a" * 65 + ".json", "a" * 300 + ".json", "a/b/c/d/x.json", "a/" * 50 + "x.json", "a" * 70000, "/".join("a" * 64 for _ in range(5))]
CODE = [
    "module.py", "x.pyc", "x.pyd", "x.so", "x.dll", "x.pth", "x.pkl", "x.pickle", "x.bin", "x.pt", "x.pdparams", "x.npy", "x.npz", "x.tar",
    "x.tar.gz", "x.zip", "x.sh", "x", "x.yaml", "setup.cfg", "x.json.py", "x.h5", "x.ckpt", "x.joblib", "x.html", "x.desktop", "lock.json",
]  # fmt: skip
HOSTILE = [*TRAVERSAL, *WINDOWS, *CONTROL, *UNICODE, *CASE, *LONG, *CODE]
GOOD = [
    "config.json",
    "vocab.txt",
    "folds.tsv",
    "model.safetensors",
    "onnx/model.onnx",
    "a/b/c/spm_cased.model",
    "3.0-x_y.json",
    "console.txt",
    "com10.txt",
]


def test_there_are_at_least_120_hostile_names() -> None:
    assert len(set(HOSTILE)) >= 120


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: ascii(path)[:40])
def test_a_hostile_file_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"file|path|'\.\.'|data only|device|store"):
        names.check_path(path)


@pytest.mark.parametrize("path", GOOD)
def test_a_good_file_path_is_accepted(path: str) -> None:
    assert names.check_path(path) == path


@given(
    st.text(alphabet=string.ascii_letters + string.digits + "._-/\\:~ \0\u202e", max_size=40).map(lambda text: f"{text}.json")
    | st.text(max_size=80)
)
def test_an_accepted_path_stays_inside_its_folder_on_every_platform(path: str) -> None:
    try:
        names.check_path(path)
    except ValueError:
        return
    root = Path("/store/toy/1.0.0")
    assert (root / path).resolve().is_relative_to(root)
    windows = PureWindowsPath(path)
    assert not windows.is_absolute()
    assert not windows.drive
    assert ".." not in windows.parts
    assert path == path.lower() == path.encode("ascii").decode()


@pytest.mark.parametrize("name", ["ernie_tiny", "a", "ernie_3_0_nano", "x" * 64])
def test_a_module_name_is_a_python_package_name(name: str) -> None:
    assert names.check_name(name) == name
    assert name.isidentifier()


@pytest.mark.parametrize(
    "name", ["", "3x", "A", "a-b", "a.b", "a__b", "_a", "a_", "é", "a\n", "../a", "a/b", "__init__", "x" * 65, "ernie_tiｎy"]
)
def test_other_module_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="a name has"):
        names.check_name(name)


@pytest.mark.parametrize(
    "version", ["1", "", "1.0.0.0.0", "01.0", "1.0a", "1..0", "1.0\n", "v1.0", "1.-1", "١.٠", "../1.0", "1.0/..", "9999999999.0"]
)
def test_other_versions_are_refused(version: str) -> None:
    with pytest.raises(ValueError, match="a version is"):
        names.check_version(version)


@pytest.mark.parametrize(
    "source",
    [
        "bundle:modules/x/config.json",
        "file:///srv/x.json",
        "https://example.org/a/x.json?download=1",
        "http://[::1]:80/x",
        f"hf://org/repo@{'a' * 40}/x.json",
        "hf://org/repo@v1.0/x.json",
    ],
)
def test_the_five_kinds_of_sources_are_accepted(source: str) -> None:
    assert names.check_source(source) == source


@pytest.mark.parametrize(
    "source",
    [
        "", "x.json", "/etc/passwd", "ftp://host/x", "data:text/plain,x", "javascript:x", "HTTP://host/x", "http://", "http:///x",
        "https://user:word@host/x",
        "https://host/x#part", "http://host:0/x", "http://host:99999/x", "http://host:x/", "http://[::1/x", "http://host/a b", "http://host/\n",
        "http://host/词", "file://host/x", "file:x", "bundle:", "bundle:../x", "bundle:/x", "bundle:a/../x", "bundle:a//x", "bundle:a\\x",
        "bundle:./x",
        "hf://org/repo", "hf://org/repo/x.json", "hf://org/repo/sub/x.json", "hf://org/repo@/x",
        "hf://org/repo@a..b/x", "hf://org/repo@abc1234/x", "hf://org/repo@-x/x",
        f"hf://org/repo@{'A' * 40}/x", f"hf://org/repo@{'a' * 39}/x",
        f"hf://../repo@{'a' * 40}/x", f"hf://org/..@{'a' * 40}/x", f"hf://org/../x@{'a' * 40}/x",
        f"hf://org/repo@{'a' * 40}/../x", f"hf://org/repo@{'a' * 40}/a/./x", f"hf://org/repo@{'a' * 40}/?x", f"https://host/{'x' * 2048}",
    ],
    ids=lambda source: ascii(source)[:40],
)  # fmt: skip
def test_other_sources_are_refused(source: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - every rule has its own words
        names.check_source(source)


def test_a_hugging_face_source_without_a_revision_or_with_a_short_commit_says_what_is_missing() -> None:
    with pytest.raises(ValueError, match="the revision is a commit, or the name of a branch or tag"):
        names.check_source("hf://org/repo/x.json")
    with pytest.raises(ValueError, match="a commit has 40 hexadecimal digits"):
        names.check_source("hf://org/repo@abc1234/x.json")
    assert names.split_hub("hf://org/repo@main/sub/x.json") == ("org/repo", "main", "sub/x.json")


def test_files_of_one_module_do_not_overlap() -> None:
    names.check_no_overlap(("a.json", "a/b.json", "a/c.json"))
    for files in (("a.json", "a.json"), ("a.json", "a.json/b.json")):
        with pytest.raises(ValueError, match=r"a\.json"):
            names.check_no_overlap(files)


def test_names_are_compared_without_case_dashes_and_dots() -> None:
    assert names.normal(" ERNIE-3.0_tiny ") == "ernie_3_0_tiny"
