"""What every message is made of."""

from typing import Any

import pytest

from nlphub import errors
from nlphub.errors import InputError, MissingExtraError, NlphubError, brief, did_you_mean, require


def test_user_mistakes_have_exit_code_2_and_other_errors_1() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, NlphubError)]
    assert len(classes) >= 12
    assert all(cls.exit_code == (2 if issubclass(cls, InputError) else 1) for cls in classes)


def test_all_problems_are_kept_and_the_first_twenty_printed() -> None:
    error = InputError("Wrong.", [f"problem {number}" for number in range(23)])
    assert len(error.problems) == 23
    assert str(error).splitlines() == ["Wrong.", *(f"  - problem {number}" for number in range(20)), "  ... and 3 more"]
    assert str(InputError("Wrong.", ["one"])) == "Wrong.\n  - one"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("lable", " Did you mean 'label'?"),
        ("TEXT", " Did you mean 'text'?"),
        ("ernie_tin", " Did you mean 'ernie_tiny' or 'ernie_tiny_baidu'?"),
        ("完全不同", ""),
    ],
)
def test_near_names_are_offered(name: str, hint: str) -> None:
    assert did_you_mean(name, ["text", "label", "ernie_tiny", "ernie_tiny_baidu"]) == hint


def test_values_in_messages_are_short_and_always_printable() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert brief("退货") == "'退货'"
    assert [len(brief(value)) <= 60 for value in ("x" * 1000, list(range(1000)))] == [True, True]
    assert brief(deep) == "a list that cannot be shown"
    assert brief(10**5000) == "a int that cannot be shown"
    while deep:  # not left to the collector, whose recursion is limited too
        deep = deep.pop()


def test_a_missing_package_is_said_with_the_command_and_a_broken_one_keeps_its_own_message(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissingExtraError, match=r"Drawing needs no_such_package.*pip install 'nlphub\[train\]'"):
        require("no_such_package", extra="train", purpose="Drawing")
    (tmp_path / "broken_package.py").write_text("import another_missing_one", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="another_missing_one"):
        require("broken_package", extra="train", purpose="Drawing")
