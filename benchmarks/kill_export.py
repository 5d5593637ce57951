"""Kills an export with SIGKILL at random moments: what stands in its folder is the old artefact or the new one, never a mixture.

    python benchmarks/kill_export.py [--kills 100] [--seed 0]

A child process exports two small modules in turn into one folder, over and over. It is a fork with the graphs of ids made beforehand,
so that it spends its time with writing and not with imports and tracing. Half of the kills strike anywhere, half late, among the last
files. After each, every file in the folder has to have the digest that ``nlphub.json`` promises, and the weights and labels of one of the
two modules have to be in all of them.
"""

import argparse
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

import nlphub.export.onnx as export
from nlphub.files import recover_folder, sha256
from nlphub.hub import zoo
from nlphub.nn.dense import DenseModel
from nlphub.nn.heads import SequenceHead
from nlphub.nn.initialise import initialise
from nlphub.paths import bundle
from nlphub.runtime import artefact

Modules = list[tuple[dict[str, Any], bytes]]  # modules and their graphs


def module(seed: int) -> dict[str, Any]:
    """A small classifier, as ``export_artefact`` takes it."""
    parts = zoo.load("ernie_tiny")
    encoder, head = parts.transformer(layers=1, width=32, heads=2, inner=64), SequenceHead(32, 3)
    for part in (encoder, head):
        initialise(part, seed=seed)
    tokenizer = parts.tokenizer(bundle() / "tokenizers" / "zh_char")
    card = {"architecture": "ernie_tiny", "max_length": 32}
    return {"encoder": encoder, "head": head, "tokenizer": tokenizer, "labels": [f"{seed}{name}" for name in "abc"], "card": card}


def traced(one: dict[str, Any], folder: Path) -> bytes:
    """The graph of ids of a module."""
    export.write_graph(DenseModel(one["encoder"], one["head"]).eval(), folder / "model.onnx")
    return (folder / "model.onnx").read_bytes()


def export_one(folder: Path, one: dict[str, Any], graph: bytes) -> None:
    """An export that does not trace the network again."""

    def write(model: Any, path: Path, **_: Any) -> None:
        path.parent.mkdir(parents=True)
        path.write_bytes(graph)

    export.write_graph = write
    export.export_artefact(folder, **one)


def export_for_ever(folder: Path, modules: Modules, first: int) -> None:
    """The child: one artefact after the other, until somebody kills it."""
    for number in itertools.count(first):
        export_one(folder, *modules[number % len(modules)])


def strike(child: int, folder: Path, chance: random.Random, *, longest: float) -> None:
    """Kill the child: anywhere in an export, or soon after the first file of a new artefact was written."""
    if chance.random() < 0.5:
        time.sleep(chance.uniform(0.0, 1.5 * longest))
    else:
        while not any(folder.parent.glob(f".{folder.name}.*.part/{artefact.TEXT_GRAPH}")) and os.waitpid(child, os.WNOHANG) == (0, 0):
            time.sleep(0.001)
        time.sleep(chance.uniform(0.0, longest / 3))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def wrong_with(folder: Path) -> list[str]:
    """What of the folder is not as its ``nlphub.json`` says, or not of the same module."""
    import onnx

    facts = json.loads((folder / artefact.FACTS).read_text("utf-8"))
    held = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {artefact.FACTS}
    wrong = sorted(held ^ facts["files"].keys())
    wrong += [path for path, entry in facts["files"].items() if path in held and sha256(folder / path) != entry["sha256"]]
    inside = {each.key: json.loads(each.value) for each in onnx.load(folder / artefact.TEXT_GRAPH).metadata_props}
    labels = list(json.loads((folder / artefact.CONFIG).read_text("utf-8"))["id2label"].values())
    return wrong + [name for name in ("labels", "weights") if inside[name] != facts[name]] + ["config"] * (labels != facts["labels"])


def export_time(folder: Path, modules: Modules) -> float:
    """Seconds of one export, measured where a fork is as slow as those that are killed."""
    started = time.perf_counter()
    if (child := os.fork()) == 0:
        export_one(folder, *modules[0])
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        raise SystemExit("an export that nobody killed failed")
    return time.perf_counter() - started


def killed(folder: Path, modules: Modules, kills: int, chance: random.Random) -> Counter[str]:
    """How often the folder held which of the two modules after a kill, the first of which was there before; and everything wrong."""
    longest, found = export_time(folder, modules), Counter[str]()
    for number in range(kills):
        if (child := os.fork()) == 0:
            export_for_ever(folder, modules, number + 1)
        strike(child, folder, chance, longest=longest)
        if not folder.exists():
            found["GONE"] += 1
            continue
        found["MIXED"] += bool(wrong_with(folder))
        labels = json.loads((folder / artefact.FACTS).read_text("utf-8"))["labels"]
        found["first" if labels == modules[0][0]["labels"] else "second"] += 1
        found["unfinished"] += any(folder.parent.glob(f".{folder.name}.*"))
        recover_folder(folder)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)  # a fork has no threads of its own
    with tempfile.TemporaryDirectory() as root:
        modules = [(one, traced(one, Path(root))) for one in (module(0), module(1))]
        found = killed(Path(root) / "artefact", modules, options.kills, random.Random(options.seed))
    told = ", ".join(f"{name} {count}" for name, count in sorted(found.items()) if count)
    print(f"{options.kills} kills ({told}): {'MIXED OR GONE' if found['MIXED'] or found['GONE'] else 'always one whole artefact'}")
    sys.exit(bool(found["MIXED"] or found["GONE"]))


if __name__ == "__main__":
    main()
