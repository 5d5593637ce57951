"""Files and examples that many tests of the doctor use."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from nlphub.data.examples import Examples

Rows = Sequence[tuple[str, str | None]]


@pytest.fixture
def examples() -> Callable[[Rows], Examples]:
    """``examples([("余额", "查余额"), ...])``: examples on the lines 2, 3, ..."""

    def make(rows: Rows) -> Examples:
        from nlphub.data.examples import Example

        return Examples([Example(text, label, line=number) for number, (text, label) in enumerate(rows, start=2)], source="x.csv")

    return make


@pytest.fixture
def csv_file(tmp_path: Path) -> Callable[..., Path]:
    """``csv_file("x.csv", [(...), ...], encoding="utf-8")``: cells without commas or quotes."""

    def write(name: str, rows: Sequence[Sequence[Any]], encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.write_bytes("".join(",".join(map(str, row)) + "\r\n" for row in rows).encode(encoding))
        return path

    return write
