"""A small trained classifier, far from uniform, and its texts."""

from pathlib import Path

import pytest
import torch

import nlphub as hub
from nlphub.checkpoints import native
from nlphub.hub import zoo
from nlphub.nn.initialise import initialise
from nlphub.paths import bundle

ROWS = [
    (f"{opening}{middle}{end}", label)
    for label, middle in (("余额", "还剩多少钱"), ("转账", "怎么汇款"), ("挂失", "卡丢了"))
    for opening in ("请问", "你好", "喂")
    for end in ("", "啊", "？")
]


@pytest.fixture(scope="session")
def taught_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved classifier of three labels: three layers of four heads, 32 wide."""
    folder = tmp_path_factory.mktemp("taught")
    parts = zoo.load("ernie_tiny")
    encoder = parts.transformer(layers=3, width=32, heads=4, inner=48)
    initialise(encoder, seed=5)
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            parameter.mul_(6.0 if parameter.ndim > 1 and "embeddings" not in name else 1.0)
    tokenizer = parts.tokenizer(bundle() / "tokenizers" / "zh_char")
    start = folder / "start"
    start.mkdir()
    native.save_checkpoint(start, encoder=encoder, head=None, tokenizer=tokenizer, config={"architecture": "ernie_tiny"})
    module = hub.Module(directory=start, task="seq-cls", labels=["余额", "转账", "挂失"])
    hub.Trainer(module, settings=hub.TrainSettings(epochs=4, learning_rate=3e-3), progress=False).train(ROWS)
    module.save(folder / "module")
    return folder / "module"


@pytest.fixture
def module(taught_folder: Path) -> hub.Module:
    return hub.Module(directory=taught_folder)


@pytest.fixture
def rows() -> list[tuple[str, str]]:
    return ROWS


@pytest.fixture
def examples() -> hub.Examples:
    return hub.Examples.of(ROWS)
