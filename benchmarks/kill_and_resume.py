"""Kills `nlphub finetune` or `pretrain` with SIGKILL at random moments and resumes it until it ends, with the bits of an undisturbed run.

    python benchmarks/kill_and_resume.py [--pretrain] [--kills 20] [--seed 0]

A small network (2 layers x 64) on the demo data, so that a run is mostly start-up and checkpoints: the worst case for the proof.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from nlphub.checkpoints import native
from nlphub.data.read import load_data
from nlphub.data.shards import write_shard
from nlphub.hub import zoo
from nlphub.nn.initialise import initialise
from nlphub.paths import bundle

SETTINGS = ["train.evaluate_every=5", "train.batch_size=32", "export.folder=null"]


def small_module(folder: Path) -> Path:
    """A saved module of two layers with seeded weights."""
    parts = zoo.load("ernie_tiny")
    encoder = parts.transformer(layers=2, width=64, heads=2, inner=128)
    initialise(encoder, seed=0)
    folder.mkdir()
    tokenizer = parts.tokenizer(bundle() / "tokenizers" / "zh_char")
    native.save_checkpoint(folder, encoder=encoder, head=None, tokenizer=tokenizer, config={"architecture": "ernie_tiny"})
    return folder


def shards(folder: Path) -> Path:
    """The demo data's texts as one shard, every character a word."""
    tokenizer = zoo.load("ernie_tiny").tokenizer(bundle() / "tokenizers" / "zh_char")
    encoded = tokenizer.encode(load_data(bundle() / "recipes" / "data" / "bank_intents" / "train.csv")["train"].texts)
    text = np.ones(len(encoded.ids), np.bool_)
    text[encoded.starts[:-1]] = text[encoded.starts[1:] - 1] = False  # without [CLS] and [SEP]
    folder.mkdir()
    write_shard(
        folder / "demo.safetensors",
        ids=encoded.ids[text],
        word_starts=np.ones(int(text.sum()), np.bool_),
        starts=encoded.starts - 2 * np.arange(len(encoded.starts)),
        tokenizer_digest=tokenizer.digest,
    )
    return folder


def settings(root: Path, *, pretrain: bool, short: bool) -> list[str]:
    """Command, recipe and overrides of a run that lasts a few seconds and keeps checkpoints all the time."""
    module = ["module.name=null", f"module.directory={small_module(root / 'module')}"]
    if pretrain:
        text = f"data.train={shards(root / 'text')}"
        steps = [f"train.steps={20 if short else 60}", "train.minutes=null", "train.checkpoint_minutes=0.001", "train.batch_tokens=2048"]
        return ["pretrain", "adapt", *module, text, "data.dev=null", *steps]
    return ["finetune", "intent", *module, *SETTINGS, f"train.epochs={1 if short else 3}"]


def command(base: list[str], run: Path) -> list[str]:
    """The command that starts or resumes a run."""
    how = ["--resume"] if (run / "last").exists() else ["--overwrite"]
    return [sys.executable, "-m", "nlphub", *base, f"run.folder={run}", *how]


def finish(base: list[str], run: Path, *, kills: int = 0, chance: random.Random | None = None, longest: float = 0.0) -> Counter:
    """Run to the end with ``kills`` kills on the way; counts the kills, and the starts that resumed from a checkpoint."""
    done: Counter = Counter()
    while True:
        done["resumed"] += (run / "last").exists()
        process = subprocess.Popen(command(base, run), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if chance and done["kills"] < kills and strike(process, run, chance, longest):
            done["kills"] += 1
            continue
        errors = process.communicate()[1].decode()
        if process.returncode:
            raise SystemExit(f"a resumed run failed after {done['kills']} kills:\n{errors}")
        return done


def strike(process: subprocess.Popen, run: Path, chance: random.Random, longest: float) -> bool:
    """Kill the process: half of the times anywhere, half of the times soon after it wrote a checkpoint. False if it ended before."""
    if chance.random() < 0.5:
        time.sleep(chance.uniform(0.2, longest))
    else:
        before = stamp(run)
        while process.poll() is None and stamp(run) == before:
            time.sleep(0.001)
        time.sleep(chance.uniform(0.0, 0.3))
    alive = process.poll() is None
    process.send_signal(signal.SIGKILL)
    if alive:
        process.communicate()
    return alive


def stamp(run: Path) -> int:
    """Which checkpoint is there."""
    return (run / "last").stat().st_ino if (run / "last").exists() else 0


def outcome(run: Path) -> tuple[str, list[float]]:
    """Weights digest and the loss of every step."""
    lines = (run / "metrics.jsonl").read_text("utf-8").splitlines()
    return json.loads((run / "lock.json").read_text("utf-8"))["result"]["weights_sha256"], [json.loads(line)["loss"] for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pretrain", action="store_true", help="pretrain instead of fine-tuning")
    parser.add_argument("--short", action="store_true", help="a third of the steps")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        base = settings(Path(root), pretrain=options.pretrain, short=options.short)
        started = time.perf_counter()
        finish(base, Path(root) / "straight")
        longest = time.perf_counter() - started
        chance = random.Random(options.seed)
        done = finish(base, Path(root) / "killed", kills=options.kills, chance=chance, longest=longest)
        same = outcome(Path(root) / "straight") == outcome(Path(root) / "killed")
        leftovers = [path.name for folder in (Path(root), Path(root) / "killed") for path in folder.glob(".*") if path.suffix != ".lock"]
    print(
        f"{done['kills']} kills of a run of {longest:.1f} s, {done['resumed']} starts from a checkpoint: "
        f"{'bitwise equal' if same else 'DIFFERENT'}; leftovers: {leftovers or 'none'}"
    )
    sys.exit(not (same and done["kills"] and done["resumed"] and not leftovers))


if __name__ == "__main__":
    main()
