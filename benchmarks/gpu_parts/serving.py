"""Answers a second of the demo's classifier, and a whole training on a real set."""

import json
import lzma
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

import nlphub as hub
from gpu_parts import clock
from gpu_parts.facts import Bar, Found, Row, Setting, clean, fault, short
from gpu_parts.work import HuggingFace, Load, lengths_of, module_of, texts_of
from nlphub.data.batching import pack, token_batches
from nlphub.nn.encoder import to_tensors
from nlphub.nn.inference import head_logits
from nlphub.recipe import TrainSettings
from nlphub.text.encoding import Encoded

Step = Callable[[], tuple[float, ...]]

_TOKENS = 1 << 16  # of a batch


def inference(setting: Setting) -> Found:
    """The network of the demo, token ids in, numbers of labels on the host out: on the demo's texts, and beside Hugging Face's."""
    found, load = Found(), Load("6x384", "mean 20", 4 if setting.dry else _TOKENS // 20)
    module, half = module_of(load, setting), module_of(load, setting).to(torch.bfloat16)
    demo = hub.load_data("bundle:recipes/data/bank_intents/train.csv")["train"].texts
    drawn = texts_of(lengths_of("mean 20", 40_000, dry=setting.dry)[: 50 if setting.dry else None].tolist())
    told = module.tokenize((demo * 40)[: 50 if setting.dry else 40_000])
    variants: list[tuple[str, Any]] = [
        ("ours, demo texts, as Module.predict does it (float32, 8k tokens)", lambda: _as_predict(module, told)),
        ("ours, demo texts, bfloat16, 64k tokens", lambda: _large(half, told, setting)),
        (f"ours, {load}, bfloat16, 64k tokens", lambda: _large(half, module.tokenize(drawn), setting)),
    ]
    variants += [(f"Hugging Face, {load}, {words}", lambda peer=peer: _inferring(peer())) for words, peer in _peers(load, setting)]
    rates = {}
    for name, make in variants:
        late = Row("inference", name, {}, "left out: the time was over")
        row, rates[name] = (late, None) if setting.late() else _answers(name, make, setting)
        found.rows.append(row)
    best = max((rate for name, rate in rates.items() if rate and "demo texts" in name), default=None)
    found.bars.append(
        Bar("utterances a second of the demo's network, token ids in", best if setting.device.type == "cuda" else None, 500_000)
    )
    return found


def tnews(setting: Setting) -> Found:
    """Fine-tuning ernie_tiny on TNEWS, three epochs, from strings to scores on the test rows."""
    found = Found()
    data = _tnews_rows(setting)
    limit = Bar("TNEWS, three epochs, strings to scores, in seconds", None, 60.0, "most")
    if data is None:
        found.rows.append(Row("tnews", "TNEWS", {}, "not run: NLPHUB_DATA names no folder with labelled/tnews in it"))
        found.bars.append(limit)
        return found
    for graphs in ("on", "off") if setting.device.type == "cuda" else ("off",):
        clean(setting)
        try:
            figures = _trained(data, graphs, setting)
        except Exception as error:  # a route that does not work here is a finding
            found.rows.append(Row("tnews", f"graphs {graphs}", {}, fault(error)))
            continue
        found.rows.append(Row("tnews", f"graphs {graphs}", figures, "compare the score with benchmarks/results/quality"))
        if setting.device.type == "cuda" and (limit.value is None or float(figures["seconds"]) < limit.value):
            limit = Bar(limit.text, float(figures["seconds"]), limit.limit, "most")
    found.bars.append(limit)
    return found


def _trained(data: dict[str, list[tuple[str, str]]], graphs: str, setting: Setting) -> dict[str, Any]:
    started = time.perf_counter()
    module = hub.Module(name="ernie_tiny")
    settings = TrainSettings(epochs=1 if setting.dry else 3, batch_size=64, learning_rate=2e-4, max_tokens=1 << 16, graphs=graphs)
    trainer = hub.Trainer(module, settings=settings, use_gpu=setting.device.type == "cuda", progress=False)
    report = trainer.train(data["train"], eval_dataset=data["dev"])
    scores = trainer.evaluate(data["test"])
    seconds = time.perf_counter() - started
    return {
        "seconds": short(seconds), "examples/s in training": round(report.examples_per_second), "rows": len(data["train"]),
        "dev accuracy": short(report.metrics.accuracy), "test accuracy": short(scores.accuracy),
    }  # fmt: skip


def _tnews_rows(setting: Setting) -> dict[str, list[tuple[str, str]]] | None:
    if setting.data is None or not (folder := setting.data / "labelled" / "tnews").is_dir():
        return None
    found = {}
    for split in ("train", "dev", "test"):
        with lzma.open(folder / f"{split}.jsonl.xz", "rt", encoding="utf-8") as lines:
            rows = [(row["text"], row["label"]) for row in map(json.loads, lines) if row.get("label")]
        found[split] = rows[:150] if setting.dry else rows
    known = {label for _, label in found["train"]}  # few rows may lack a label
    return {split: [row for row in rows if row[1] in known] for split, rows in found.items()}


def _as_predict(module: Any, encoded: Encoded) -> Step:
    units = _units(encoded)

    def work() -> tuple[float, ...]:
        head_logits(module.encoder, module.task_head, encoded).argmax(1)
        return units

    return work


def _large(module: Any, encoded: Encoded, setting: Setting) -> Step:
    """Batches of many tokens, whose answers are fetched together at the end."""
    units, batches = _units(encoded), list(token_batches(encoded.lengths, max_tokens=_TOKENS))

    def work() -> tuple[float, ...]:
        with torch.inference_mode():
            torch.cat([module(to_tensors(pack(encoded, rows), setting.device)).argmax(1) for rows in batches]).cpu()
        return units

    return work


def _units(encoded: Encoded) -> tuple[float, ...]:
    lengths = encoded.lengths
    return float(lengths.sum()), float(len(encoded)), float((lengths**2).sum())


def _peers(load: Load, setting: Setting) -> Iterator[tuple[str, Callable[[], HuggingFace]]]:
    for padding in ("128", "sorted"):
        yield padding, lambda padding=padding: HuggingFace(load, setting, padding=padding)
    if not setting.dry:
        yield "sorted, compiled", lambda: HuggingFace(load, setting, padding="sorted", compiled=True)


def _inferring(peer: HuggingFace) -> Step:
    peer.model.eval().to(torch.bfloat16)
    return peer.infer


def _answers(name: str, make: Callable[[], Step], setting: Setting) -> tuple[Row, float | None]:
    clean(setting)
    try:
        timing = clock.steps(make(), setting)
    except Exception as error:  # what does not run here is a finding
        return Row("inference", name, {}, fault(error)), None
    figures = {**timing.figures(), "tokens/s": round(timing.rate(0)), "utterances/s": round(timing.rate(1))}
    return Row("inference", name, figures), timing.rate(1)
