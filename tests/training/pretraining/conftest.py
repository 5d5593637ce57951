"""A little text as shards, and recipes over it that train a network of two narrow layers in seconds."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nlphub as hub
from nlphub.data.shards import write_shard
from nlphub.recipe import PretrainRecipe
from nlphub.text.tokenizers import load_tokenizer

ROOT = Path(__file__).parents[3]
SENTENCES = ("今天天气真好我们去公园", "明天天气不好我们在家里", "我要查信用卡的账单", "请帮我把信用卡挂失", "转账为什么还没有到账")
SMALL = {"layers": 2, "width": 24, "heads": 3, "inner": 48}

Write = Callable[..., None]


@pytest.fixture(autouse=True, scope="session")
def _the_machine_is_measured_once() -> Iterator[None]:
    """Every pretraining begins with a second of products that say what the machine could do: longer than the trainings here take."""
    from nlphub.training.pretraining import loop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "matrix_flops", functools.cache(loop.matrix_flops))
        yield


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return load_tokenizer(ROOT / "tokenizers" / "zh_char")


@pytest.fixture
def write(tokenizer: Any) -> Write:
    """``write(path, texts)``: a shard in which every second token starts a word."""

    def make(path: Path, texts: Any = SENTENCES, *, source: str = "bank", weight: float = 1.0) -> None:
        pieces = [tokenizer.encode([text]).ids[1:-1] for text in texts]
        ids = np.concatenate(pieces)
        starts = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])])
        words = np.arange(len(ids)) % 2 == 0
        words[starts[:-1]] = True
        path.parent.mkdir(parents=True, exist_ok=True)
        write_shard(path, ids=ids, word_starts=words, starts=starts, tokenizer_digest=tokenizer.digest, source=source, weight=weight)

    return make


@pytest.fixture
def small_module(tmp_path: Path) -> Path:
    """The folder of an untrained ernie_tiny, but narrow."""
    import json

    folder = tmp_path / "small"
    hub.Module(name="ernie_tiny").save(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["encoder"] |= SMALL
    config["initial_seed"] = 1
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "model.safetensors").unlink()
    return folder


@pytest.fixture
def recipe(tmp_path: Path, small_module: Path, write: Write) -> Callable[..., PretrainRecipe]:
    """``recipe(steps=3)``: over two shards and a held-out one, in a run folder of its own."""
    write(tmp_path / "text" / "bank-0.safetensors", SENTENCES * 6)
    write(tmp_path / "text" / "chat-0.safetensors", SENTENCES[:2] * 6, source="chat", weight=0.5)
    write(tmp_path / "dev" / "bank-0.safetensors")

    def make(*, run: str = "run", **train: Any) -> PretrainRecipe:
        settings = {"start": "scratch", "batch_tokens": 64, "learning_rate": 5e-3, "embedding_rate": 5e-3, "checkpoint_minutes": 1e-6}
        return PretrainRecipe.model_validate(
            {
                "module": {"directory": str(small_module)},
                "task": "mlm",
                "data": {"train": str(tmp_path / "text"), "dev": str(tmp_path / "dev"), "max_length": 16},
                "train": settings | train,
                "run": {"folder": str(tmp_path / run)},
            }
        )

    return make
