"""Data that a small module can learn."""

import pytest

import nlphub as hub

ROWS = [
    (f"{opening}{middle}{end}", label)
    for label, middle in (("余额", "还剩多少钱"), ("转账", "怎么汇款"), ("挂失", "卡丢了"))
    for opening in ("请问", "你好", "喂", "那个")
    for end in ("", "啊", "呢", "？")
]


@pytest.fixture(scope="session")
def rows() -> list[tuple[str, str]]:
    return ROWS


@pytest.fixture
def examples() -> hub.Examples:
    return hub.Examples.of(ROWS)
