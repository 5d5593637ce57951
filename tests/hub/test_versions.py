"""Versions are compared as numbers, conditions are PaddleHub's."""

import pytest

from nlphub.errors import InputError
from nlphub.hub.versions import key, satisfies


@pytest.mark.parametrize(
    ("version", "conditions", "answer"),
    [
        ("1.0.0", "1.0.0", True),
        ("1.0.0", "1.0", True),
        ("1.0.0", "==1", True),
        ("1.0.1", "1.0", False),
        ("0.1.0", ">=0.1,<2", True),
        ("2.0.0", ">=0.1,<2", False),
        ("0.10.0", ">0.9", True),
        ("0.9.0", "<0.10", True),
        ("1.0.0", "!=1.0.0", False),
        ("1.2.3", " >= 1.2 , <= 1.2.3 ", True),
        ("1.2.3", ">1.2.3", False),
    ],
)
def test_conditions(version: str, conditions: str, answer: bool) -> None:
    assert satisfies(version, conditions) is answer


@pytest.mark.parametrize(
    "conditions", ["", ",", "x", ">=", "=1.0", "~=1.0", ">=1.0,", "1.0 2.0", "1.0.0.0.0", "latest", "=>1", "1.*", "-1"]
)
def test_a_condition_that_cannot_be_read_is_an_error(conditions: str) -> None:
    with pytest.raises(InputError, match=r"write 1\.0\.0, ==1\.0 or >=0\.1,<2"):
        satisfies("1.0.0", conditions)


def test_versions_sort_as_numbers() -> None:
    assert sorted(["0.10.0", "0.9", "1.0", "0.9.1"], key=key) == ["0.9", "0.9.1", "0.10.0", "1.0"]
