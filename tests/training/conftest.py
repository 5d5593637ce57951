"""A module that is small enough to train in a test, and data that it can learn."""

from pathlib import Path

import pytest

import nlphub as hub

SMALL = {"layers": 2, "width": 32, "heads": 2, "inner": 64}
ROWS = [(f"{opening}{middle}{end}", label) for label, middle in (("余额", "还剩多少钱"), ("转账", "怎么汇款"), ("挂失", "卡丢了"))
        for opening in ("请问", "你好", "喂", "那个") for end in ("", "啊", "呢", "？")]  # fmt: skip


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved module without a head: two layers, 32 wide, seeded weights."""
    from nlphub.checkpoints import native
    from nlphub.hub import zoo
    from nlphub.nn.initialise import initialise
    from nlphub.paths import bundle

    folder = tmp_path_factory.mktemp("small") / "module"
    folder.mkdir()
    parts = zoo.load("ernie_tiny")
    encoder = parts.transformer(**SMALL)
    initialise(encoder, seed=3)
    tokenizer = parts.tokenizer(bundle() / "tokenizers" / "zh_char")
    native.save_checkpoint(folder, encoder=encoder, head=None, tokenizer=tokenizer, config={"architecture": "ernie_tiny"})
    return folder


@pytest.fixture
def module(small_folder: Path) -> hub.Module:
    return hub.Module(directory=small_folder)


@pytest.fixture
def examples() -> hub.Examples:
    return hub.Examples.of(ROWS)
