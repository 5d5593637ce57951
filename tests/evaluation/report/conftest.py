"""Folders as runs leave them, without any training: logits are made up, everything behind them is real."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from nlphub.calibration import Calibration
from nlphub.data.examples import Example, Examples
from nlphub.evaluation.metrics import classification_report
from nlphub.evaluation.report.collected import describe_splits
from nlphub.evaluation.report.judged import judged_answers, write_judged
from nlphub.evaluation.trust import Held, judge_calibration
from nlphub.files import publish_json, publish_text
from nlphub.recipe import load_recipe

MakeRun = Callable[..., Path]
LABELS = ("查余额", "挂失", "转账")


def made_up(labels: Sequence[str], texts: Sequence[str], *, each: int, right: float, seed: int) -> tuple[Examples, np.ndarray]:
    """``each`` examples of every label with logits whose best is the label with probability ``right``."""
    random, n = np.random.default_rng(seed), len(labels)
    targets = np.repeat(np.arange(n), each)
    best = np.where(random.random(len(targets)) < right, targets, random.integers(n, size=len(targets)))
    logits = random.normal(size=(len(targets), n)).astype(np.float32)
    logits[np.arange(len(targets)), best] = np.abs(logits).max() + random.random(len(targets)).astype(np.float32) * 3
    items = [Example(f"{texts[row % len(texts)]} {row}", labels[target]) for row, target in enumerate(targets.tolist())]
    return Examples(items), logits


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """``make_run(labels=..., texts=...)`` -> the folder of a run of seq-cls."""

    def make(
        labels: Sequence[str] = LABELS,
        texts: Sequence[str] = ("卡里还剩多少钱", "卡丢了"),
        *,
        each: int = 20,
        right: float = 0.7,
        seed: int = 0,
    ) -> Path:
        folder = tmp_path / "runs" / "银行"
        examples, logits = made_up(labels, texts, each=each, right=right, seed=seed)
        calibration = Calibration(temperature=1.3, threshold=0.6)
        held = Held(logits, np.repeat(np.arange(len(labels)), each))
        judgement = judge_calibration(held, labels, calibration).as_dict()
        judged = judged_answers(examples, logits, labels, calibration)
        metrics = classification_report([row.label for row in judged], [row.answer for row in judged], labels)
        publish_json(folder / "lock.json", {"recipe_sha256": "0" * 64, "nlphub": "0.1.0", "seed": 0})
        publish_text(folder / "recipe.yaml", load_recipe("intent").to_yaml())
        log = [f'{{"step": {step}, "epoch": {step / 10}, "loss": {3 / step}, "rate": 0.1}}\n' for step in range(1, 21)]
        log[9] = '{"step": 10, "epoch": 1.0, "loss": null, "macro_f1": 0.5, "improved": true, "backed_off": true}\n'
        log[19] = '{"step": 20, "epoch": 2.0, "loss": 0.15, "macro_f1": 0.7, "improved": true}\n'
        publish_text(folder / "metrics.jsonl", "".join(log))
        report = folder / "report"
        publish_json(report / "metrics.json", {"judged_on": "test", **metrics.as_dict()})
        publish_json(
            report / "calibration.json",
            {"calibration": calibration.as_dict(), "aim": {"precision": 0.9}, "missed": [], "dev": judgement, "test": judgement},
        )
        publish_json(report / "data.json", describe_splits({"train": examples, "test": examples}))
        write_judged(report / "judged.jsonl", judged)
        return folder

    return make
