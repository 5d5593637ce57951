"""Section ``start``: what starting costs, how soon the first answer is there, and what loading and training need of memory.

Every figure is of a process of its own. Starts are processor time, user and system, in turns; memory is a peak and measured once.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec

from speeds import children, networks
from speeds.rows import Bar, Options, Row, missing
from speeds.texts import texts_of
from speeds.timing import Timings, Variant, interleaved

COMMANDS = {
    "python": ["-c", "pass"],
    "import nlphub": ["-c", "import nlphub"],
    "import typer": ["-c", "import typer"],
    "nlphub --help": ["-m", "nlphub", "--help"],
    "nlphub list": ["-m", "nlphub", "list"],
}
HEAVY = ("torch", "numpy", "pydantic", "transformers", "datasets", "jieba", "onnxruntime")
EXAMPLES = 320
_HELP = Bar("`nlphub --help` costs <= 1.3x `python -c 'import typer'`", 1.3, kind="most")
_LIGHT = Bar(f"`nlphub --help` loads none of {', '.join(HEAVY)}", 0, kind="most", of="ours")
_FIRST = Bar("`nlphub predict` on an exported folder answers its first string in < 1 s of process time", 1.0, kind="most", of="ours")
_LOAD = Bar("loading holds the weights once: the peak grows by <= 1.2x their size", 1.2, kind="most", of="ours")
_TRAIN = Bar("peak memory of training ernie_tiny at batch 32 <= 60 % of the HF Trainer's", 0.6, kind="most")


def run(options: Options) -> list[Row]:
    """Start, first answer, loading and training; ratios are ours by the peer's, so that below 1 is better."""
    return [*start(options), *light(), *first_answer(options), *loading(options), *training(options)]


def start(options: Options) -> list[Row]:
    """The commands beside `import typer`, in turns."""
    timings = commands(options.rounds or (5 if options.quick else 15))
    return [_started(timings, name, (_HELP,) if name == "nlphub --help" else ()) for name in COMMANDS if name != "import typer"]


def commands(rounds: int) -> Timings:
    """Seconds of :data:`COMMANDS`."""
    return interleaved({name: partial(_run, arguments) for name, arguments in COMMANDS.items()}, rounds)


def light() -> list[Row]:
    """Which heavy packages the help imports."""
    command = [sys.executable, "-X", "importtime", "-m", "nlphub", "--help"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    names = {line.rpartition("|")[2].strip().partition(".")[0] for line in told.splitlines()}
    loaded = [name for name in HEAVY if name in names]
    said = f"loaded: {', '.join(loaded) or 'none'}; {len(told.splitlines())} modules in all"
    return [Row("start, heavy packages behind --help", float(len(loaded)), None, None, "packages", said, (_LIGHT,))]


def first_answer(options: Options) -> list[Row]:
    """From the start of `nlphub predict FOLDER TEXT` to its end, of an artefact."""
    name = "ernie_tiny"
    folder = networks.artefact(name, options.work)
    variants: dict[str, Variant] = {"ours": partial(_run, ["-m", "nlphub", "predict", str(folder), "转人工"])}
    peer = "transformers"
    if not options.quick and find_spec("transformers"):
        code = f"from transformers import pipeline; print(pipeline('text-classification', {str(folder)!r})('转人工'))"
        variants[peer] = partial(_run, ["-c", code])
    timings = interleaved(variants, options.rounds or 3)
    title, settings = f"start, first answer of {name} (ratio: cost)", f"process time; wall {timings.seconds('ours', 'wall'):.2f} s"
    if peer not in variants:
        return [Row(title, timings.seconds("ours"), None, None, "s", settings, (_FIRST,))]
    return [Row(title, timings.seconds("ours"), timings.seconds(peer), timings.ratio(peer, "ours"), "s", f"{settings}; {peer}", (_FIRST,))]


def loading(options: Options) -> list[Row]:
    """By how much the peak grows when weights are loaded."""
    name = "nano" if options.quick else "medium"
    ours = children.run("load_ours", networks.saved("toy", options.work), networks.saved(name, options.work), threads=options.threads)
    title, mine = f"start, memory of loading {name}", ours["above"] / ours["weights"]
    settings = f"weights {ours['weights']:.0f} MiB; a copy while judging would make it 2"
    if options.quick or not find_spec("transformers"):
        return [Row(title, mine, None, None, "x weights", settings, (_LOAD,))]
    folders = [networks.artefact(each, options.work) for each in ("toy", name)]
    found = children.run("load_transformers", *folders, threads=options.threads)
    theirs = found["above"] / found["weights"]
    return [Row(f"{title} (ratio: cost)", mine, theirs, mine / theirs, "x weights", f"{settings}; transformers", (_LOAD,))]


def training(options: Options) -> list[Row]:
    """The peak of fine-tuning ernie_tiny from strings, beside the Trainer of transformers with dynamic padding."""
    title = "start, peak memory of training ernie_tiny (ratio: cost)"
    if absent := [package for package in ("transformers", "accelerate") if find_spec(package) is None]:
        return [missing(title, f"pip install {' '.join(absent)}", (_TRAIN,))]
    steps = 3 if options.quick else 10
    given, labels = options.work / "examples.json", networks.labels_of()
    texts = texts_of("service", EXAMPLES, options.data)
    given.write_text(json.dumps([(text, labels[place % len(labels)]) for place, text in enumerate(texts)]), "utf-8")
    folders = {"ours": networks.encoder_folder("ernie_tiny", options.work), "transformers": networks.artefact("ernie_tiny", options.work)}
    peaks = [children.run(f"train_{who}", folder, given, str(steps), threads=options.threads)["peak"] for who, folder in folders.items()]
    settings = f"batch {children.BATCH}, {steps} steps, {options.threads} threads, service texts; HF Trainer with dynamic padding"
    return [Row(title, *peaks, peaks[0] / peaks[1], "MiB", settings, (_TRAIN,))]


def _started(timings: Timings, name: str, bars: Sequence[Bar]) -> Row:
    above = 1000 * (timings.seconds(name) - timings.seconds("python"))
    settings = f"process time, {above:+.0f} ms above bare Python; peer: import typer"
    ours, theirs = (1000 * timings.seconds(each) for each in (name, "import typer"))
    return Row(f"start, {name} (ratio: cost)", ours, theirs, timings.ratio("import typer", name), "ms", settings, tuple(bars))


def _run(arguments: Sequence[str]) -> None:
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
