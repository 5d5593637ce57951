"""The network, from our weights or from random ones: fine-tuned by the public Trainer, or frozen for the probe."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

import nlphub as hub
from judging.hyper import hyper
from judging.scores import Scores, area, as_scores
from judging.sets import Kind, Row, Task
from nlphub.checkpoints.native import weights_digest
from nlphub.data.examples import Examples
from nlphub.errors import InputError, WeightsError
from nlphub.nn.initialise import initialise
from nlphub.recipe import TrainSettings

RANDOM_SEED = 1000  # random weights of seed s are made from RANDOM_SEED + s, so that encoder and head share no draws
_TASKS = {"text": "seq-cls", "pair": "seq-cls", "spans": "token-cls", "sets": "multi-label", "numbers": "regression", "frames": "joint"}


def sources(directory: Path | None) -> dict[str, str]:
    """Column -> what its cells start from: ``random`` a network of this shape, ``pretrained`` these weights, if they were ever trained.

    Args:
        directory: a module folder instead of the shipped ``ernie_tiny``.
    """
    module = hub.Module(**_named(directory))
    shape = json.dumps([module.config["encoder"], module.tokenizer.digest], sort_keys=True)
    found = {"random": "shape " + hashlib.sha256(shape.encode()).hexdigest()[:12]}
    digest, seed = weights_digest(module.encoder), module.config.get("initial_seed")
    if seed is not None:
        initialise(module.encoder, seed=seed)
    if seed is None or weights_digest(module.encoder) != digest:
        found["pretrained"] = digest
    return found


def require_trained(starts: dict[str, str], directory: Path | None) -> None:
    """Check that there are trained weights for the column ``pretrained``.

    Raises:
        WeightsError: the module's weights are the random ones that it was made with.
    """
    if "pretrained" not in starts:
        what = f"The weights in {directory}" if directory else "The weights that ernie_tiny ships with"
        raise WeightsError(
            f"{what} are random: no trained weights yet, so there is nothing to judge in the column 'pretrained'. "
            "Judge the others with --columns random tfidf ngrams, or trained ones with --module folder."
        )


def judge(column: str, task: Task, *, seed: int, directory: Path | None, device: str) -> tuple[list[Scores], dict[str, Any]]:
    """Fine-tune (or freeze) the network on a task's rows and judge its last weights.

    Args:
        seed: of the head, the order of rows, dropout, and the random weights.
        device: ``"cpu"`` or ``"cuda"``.

    Returns:
        Scores (one, or one for each draw), and facts about the run.

    Raises:
        InputError: ``"cuda"`` without a usable GPU.
    """
    settings = hyper(column, task.of)
    head: dict[str, Any] = {} if task.of.kind == "probe" else {"task": _TASKS[task.of.kind], "labels": list(task.labels) or None}
    module = hub.Module(**_named(directory), **head, max_length=settings["max_length"], seed=seed)
    if column == "random":
        initialise(module.encoder, seed=RANDOM_SEED + seed)
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda, but torch sees no GPU here; leave it out for capped cells on the CPU")
    if task.of.kind == "probe":
        from judging.probe import judge_frozen  # scikit-learn: printing a table needs none

        return judge_frozen(task, module.to(device)), {}
    trainer = hub.Trainer(module, settings=train_settings(settings, seed), use_gpu=device == "cuda", progress=False)
    report = trainer.train(Examples.of([as_example(row, task.of.kind) for row in task.train]))
    metrics = trainer.evaluate(Examples.of([as_example(row, task.of.kind) for row in task.judged]))
    scores = as_scores(metrics)
    if "auc" in task.of.metrics:
        pairs = [(row.text, row.pair or "") for row in task.judged]
        scores |= area([str(row.label) for row in task.judged], module.logits(pairs), task.labels)
    return [scores], {"steps": report.steps, "train_seconds": round(report.seconds, 1)}


def train_settings(settings: dict[str, Any], seed: int) -> TrainSettings:
    """The Trainer's settings: the published numbers, no dev set, one pass after another without stopping early."""
    return TrainSettings(**{name: value for name, value in settings.items() if name in TrainSettings.model_fields}, seed=seed)


def as_example(row: Row, kind: Kind) -> dict[str, Any]:
    """What the Trainer takes for a row of a set of this kind."""
    if kind == "frames":
        return {"text": row.text, "label": row.label, "spans": row.spans}
    if row.labels is not None:
        return {"text": row.text, "labels": list(row.labels)}
    if row.value is not None:
        return {"text": row.text, "pair": row.pair, "value": row.value}
    if row.label is None:
        return {"text": row.text, "spans": row.spans}
    return {"text": row.text, "label": row.label} | ({"pair": row.pair} if row.pair is not None else {})


def _named(directory: Path | None) -> dict[str, Any]:
    return {"name": "ernie_tiny"} if directory is None else {"directory": directory}
