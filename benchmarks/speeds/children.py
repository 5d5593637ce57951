"""Work that is measured in a process of its own, so that memory and start are its alone: ``python -m speeds.children WHAT ARGUMENTS``.

Each prints one JSON object. Memory is the peak of what was resident since the process began (``VmHWM``; ``ru_maxrss`` elsewhere, which on
Linux would count the parent's memory too).
"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

MIB = 1 << 20
BATCH = 32


def run(what: str, *arguments: str | Path, threads: int) -> dict[str, Any]:
    """Start one and return what it printed.

    Raises:
        RuntimeError: it failed; the message ends with what it said.
    """
    folder = Path(__file__).parents[1]
    paths = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "speeds.children", what, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def resident(kind: str = "VmHWM") -> float:
    """MiB: the peak so far; ``"VmRSS"`` for what is resident now, where the system tells it."""
    status = Path("/proc/self/status")
    if status.is_file():
        return next(int(line.split()[1]) / 1024 for line in status.read_text().splitlines() if line.startswith(kind))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (MIB if sys.platform == "darwin" else 1024)


def idle() -> dict[str, Any]:
    """What importing torch alone needs."""
    import torch

    return {"peak": resident(), "torch": torch.__version__}


def load_ours(small: str, folder: str) -> dict[str, Any]:
    """Open a saved module; MiB above what a small one needs, whose code and tables are there by then."""
    import nlphub as hub

    _ = hub.Module(directory=small)
    before = resident()
    module = hub.Module(directory=folder)
    return {"above": resident() - before, "weights": sum(each.numel() * 4 for each in module.parameters()) / MIB}


def load_transformers(small: str, folder: str) -> dict[str, Any]:
    """The same with transformers; every weight is looked at once, as ours are by the check of what is loaded."""
    from transformers import AutoModelForSequenceClassification

    _ = AutoModelForSequenceClassification.from_pretrained(small)
    before = resident()
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    _ = [float(each.sum()) for each in model.parameters()]
    return {"above": resident() - before, "weights": sum(each.numel() * 4 for each in model.parameters()) / MIB}


def train_ours(folder: str, given: str, steps: str) -> dict[str, Any]:
    """Some steps of `hub.Trainer` from strings."""
    import nlphub as hub
    from nlphub.recipe import TrainSettings
    from speeds.networks import labels_of

    rows = [tuple(row) for row in json.loads(Path(given).read_text("utf-8"))]
    module = hub.Module(directory=folder, task="seq-cls", labels=labels_of(), max_length=128)
    settings = TrainSettings(batch_size=BATCH, learning_rate=5e-5, epochs=1000, evaluate_every=10**9)
    facts = hub.Trainer(module, settings=settings, progress=False).steps(rows)
    for _ in range(int(steps)):
        next(facts)
    return {"peak": resident()}


def train_transformers(folder: str, given: str, steps: str) -> dict[str, Any]:
    """The same by the documentation of transformers: tokenised once, dynamic padding, AdamW of torch."""
    import tempfile

    import transformers

    transformers.utils.logging.set_verbosity_error()
    rows = json.loads(Path(given).read_text("utf-8"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    by_name = {label: number for number, label in model.config.id2label.items()}
    encoded = tokenizer([text for text, _ in rows], truncation=True, max_length=128)
    examples = [
        {**{key: values[place] for key, values in encoded.items()}, "labels": by_name[label]} for place, (_, label) in enumerate(rows)
    ]
    with tempfile.TemporaryDirectory() as output:
        arguments = transformers.TrainingArguments(
            output_dir=output, per_device_train_batch_size=BATCH, max_steps=int(steps), save_strategy="no", report_to="none",
            disable_tqdm=True, use_cpu=True, learning_rate=5e-5,
        )  # fmt: skip
        collate = transformers.DataCollatorWithPadding(tokenizer)
        transformers.Trainer(model=model, args=arguments, train_dataset=examples, data_collator=collate).train()
    return {"peak": resident()}


def answer_file(folder: str, rows: str) -> dict[str, Any]:
    """Answer a file of so many rows with a saved module, as the command does."""
    import tempfile
    import time

    from typer.testing import CliRunner

    from nlphub.cli.app import app

    with tempfile.TemporaryDirectory() as name:
        source, output = Path(name) / "in.csv", Path(name) / "out.jsonl"
        with source.open("w", encoding="utf-8") as stream:
            stream.write("text\n")
            stream.writelines(f"我要查第{row}个快递到哪里了{'退货' * (row % 7)}\n" for row in range(int(rows)))
        started = time.process_time()
        done = CliRunner().invoke(app, ["predict", folder, "--input", str(source), "--output", str(output)], catch_exceptions=False)
        if done.exit_code:
            raise RuntimeError(done.output)
    return {"peak": resident(), "seconds": time.process_time() - started}


def train_rows(folder: str, rows: str) -> dict[str, Any]:
    """Open a file of so many labelled rows and take a few steps on it."""
    import tempfile
    import time

    import nlphub as hub
    from nlphub.recipe import TrainSettings

    labels = [f"意图{number}" for number in range(10)]
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "in.csv"
        with source.open("w", encoding="utf-8") as stream:
            stream.write("text,label\n")
            stream.writelines(f"我要查第{row}个快递到哪里了{'退货' * (row % 7)},{labels[row % 10]}\n" for row in range(int(rows)))
        started = time.process_time()
        examples = hub.load_data(source)["train"]
        module = hub.Module(directory=folder, task="seq-cls", labels=labels)
        facts = hub.Trainer(module, settings=TrainSettings(batch_size=BATCH, evaluate_every=10**9), progress=False).steps(examples)
        for _ in range(3):
            next(facts)
    return {"peak": resident(), "seconds": time.process_time() - started}


_WORK: Mapping[str, Callable[..., dict[str, Any]]] = {
    "idle": idle,
    "load_ours": load_ours,
    "load_transformers": load_transformers,
    "answer_file": answer_file,
    "train_rows": train_rows,
    "train_ours": train_ours,
    "train_transformers": train_transformers,
}


if __name__ == "__main__":
    print(json.dumps(_WORK[sys.argv[1]](*sys.argv[2:])))
