"""No accuracy is paid for speed: ours and the plain PyTorch loop fine-tune the same network on real headlines, seed by seed.

A part of TNEWS, several seeds, dropout on; last mean loss and accuracy on dev of both. Finished cells are kept under `Options.work`, so a
stopped measurement goes on. Needs ``NLPHUB_DATA``.
"""

import functools
import json
import lzma
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import nlphub as hub
from nlphub.files import publish_json
from nlphub.recipe import TrainSettings
from nlphub.training.optim import schedule, set_rates
from speeds.rows import Bar, Options, Row, missing
from speeds.train import BATCH, DROPOUT, epoch_after_epoch
from speeds.training_peers import PlainLoop, Texts, model_of

SEEDS, TRAIN, DEV, EPOCHS, RATE, WARMUP = (0, 1, 2), 3000, 1000, 3, 1e-4, 0.1
LAST = 30  # steps whose mean loss is compared
BARS = {"loss": 0.05, "accuracy": 0.015}  # largest difference of the means over the seeds


def run(options: Options) -> list[Row]:
    """Mean loss at the end and accuracy on dev, of both."""
    torch.set_num_threads(options.threads)
    title = "train, parity on TNEWS"
    if options.data is None:
        return [missing(title, "NLPHUB_DATA names no folder", [_bar(name) for name in BARS])]
    cells = {name: [cell(name, seed, options.data, options.work) for seed in SEEDS] for name in ("ours", "loop")}
    told = f"ernie_tiny, {TRAIN} headlines, {EPOCHS} epochs, batch {BATCH}, dropout {DROPOUT}, rate {RATE:g}, seeds {SEEDS}"
    rows = []
    for what in BARS:
        ours, theirs = ([each[what] for each in cells[name]] for name in ("ours", "loop"))
        each = ", ".join(f"{one:.3f}/{other:.3f}" for one, other in zip(ours, theirs, strict=True))
        means = statistics.mean(ours), statistics.mean(theirs)
        rows.append(Row(f"{title}, {what}", *means, means[0] / means[1], what, f"{told}; by seed, ours/loop: {each}"))
        rows.append(Row(f"{title}, difference of {what}", abs(means[0] - means[1]), None, None, what, told, (_bar(what),)))
    return rows


def cell(name: str, seed: int, data: Path, work: Path) -> dict[str, float]:
    """One training, from the cells kept or anew."""
    path = work / "parity" / f"{name}-{seed}-{TRAIN}-{EPOCHS}.json"
    if path.is_file():
        kept: dict[str, float] = json.loads(path.read_text("utf-8"))
        return kept
    train, dev = _rows(data, "train", TRAIN, seed), _rows(data, "dev", DEV, 0)
    module = _module(sorted({label for _, label in _rows(data, "train", None, 0)}), seed)
    found = (_ours if name == "ours" else _loop)(module, train, dev, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    publish_json(path, found)
    return found


def _settings(seed: int) -> TrainSettings:
    return TrainSettings(
        batch_size=BATCH,
        epochs=EPOCHS,
        learning_rate=RATE,
        warmup=WARMUP,
        dropout=DROPOUT,
        seed=seed,
        evaluate_every=10**9,
        metric="accuracy",
    )


def _module(labels: Sequence[str], seed: int) -> hub.Module:
    return hub.Module(name="ernie_tiny", task="seq-cls", labels=labels, seed=seed, max_length=128)


def _ours(module: hub.Module, train: Sequence[tuple[str, str]], dev: Sequence[tuple[str, str]], seed: int) -> dict[str, float]:
    trainer = hub.Trainer(module, settings=_settings(seed), progress=False)
    losses = [fact.loss for fact in trainer.steps(train)]
    return {"loss": statistics.mean(losses[-LAST:]), "accuracy": trainer.evaluate(dev).accuracy}


def _loop(module: hub.Module, train: Sequence[tuple[str, str]], dev: Sequence[tuple[str, str]], seed: int) -> dict[str, float]:
    """The same weights, batches and schedule; dropout from torch's generator."""
    texts, settings = _tokenised(module, train), _settings(seed)
    torch.manual_seed(seed)
    loop = PlainLoop(model_of(module, dropout=DROPOUT), texts, settings, epoch_after_epoch(texts, BATCH, seed=seed))
    steps = -(-len(train) // BATCH) * EPOCHS
    for step in range(steps):
        set_rates(loop.optimizer, schedule(step, total=steps, warmup=WARMUP, shape="linear"))
        loop.run(1)
    return {"loss": statistics.mean(loop.losses[-LAST:]), "accuracy": _accuracy(loop.model.eval(), _tokenised(module, dev))}


def _accuracy(model: Any, texts: Texts) -> float:
    right = 0
    with torch.inference_mode():
        for first in range(0, len(texts.ids), BATCH):
            batch = texts.padded(range(first, min(first + BATCH, len(texts.ids))))
            right += int((model(**batch).logits.argmax(-1) == batch["labels"]).sum())
    return right / len(texts.ids)


def _tokenised(module: hub.Module, rows: Sequence[tuple[str, str]]) -> Texts:
    encoded = module.tokenize([text for text, _ in rows])
    ids = [encoded.ids[first:last].tolist() for first, last in zip(encoded.starts[:-1], encoded.starts[1:], strict=True)]
    return Texts(list(rows), ids, np.array([module.labels.index(label) for _, label in rows]))


@functools.cache
def _read(path: Path) -> tuple[tuple[str, str], ...]:
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        return tuple((row["text"], str(row["label"])) for row in map(json.loads, lines))


def _rows(data: Path, split: str, count: int | None, seed: int) -> list[tuple[str, str]]:
    found = _read(data / "labelled" / "tnews" / f"{split}.jsonl.xz")
    order: Iterator[int] = iter(np.random.default_rng(seed).permutation(len(found))[:count].tolist())
    return [found[row] for row in order]


def _bar(what: str) -> Bar:
    return Bar(f"mean {what} differs from the plain loop's by at most {BARS[what]:g}", BARS[what], kind="most", of="ours")
