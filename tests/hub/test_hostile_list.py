"""The list of hostile inputs in the documents: every test that it names exists, and no kind of attack is missing."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("docs/hub.md", "docs/convert.md")
KINDS = (
    "path traversal", "symlinks", "absolute paths", "0-byte", "truncated", "10^12 elements", "wrong dtype", "NaN weights", "pickles",
    "unknown fields", "duplicate keys", "100 MB of JSON", "two processes", "kill -9",
)  # fmt: skip


def rows(document: str) -> list[list[str]]:
    """The cells of the table of hostile files."""
    text = (ROOT / document).read_text("utf-8").partition("## Hostile files")[2].partition("\n## ")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")][1:]


def functions(file: str) -> set[str]:
    return {node.name for node in ast.walk(ast.parse((ROOT / file).read_text("utf-8"))) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_row_names_tests_that_exist(document: str) -> None:
    for row in rows(document):
        assert len(row) == 3, row
        named = re.findall(r"`([^`]+)`", row[2])
        assert named, row
        for name in named:
            file, _, test = name.removeprefix("python ").partition("::")
            assert (ROOT / file).is_file(), name
            assert not test or test in functions(file), name


@pytest.mark.parametrize("kind", KINDS)
def test_no_kind_of_attack_is_missing(kind: str) -> None:
    assert any(f"**{kind}**" in row[0] for row in rows("docs/hub.md")), kind
