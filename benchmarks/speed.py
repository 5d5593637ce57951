"""How fast training, tokenising, prediction and start are beside their peers, on this machine, in one run.

    python benchmarks/speed.py SECTION [--quick] [--json] [--plot FILE.svg] [--threads N] [--rounds N] [--work DIR]
                               [--configurations nano,medium] [--lengths service,long] [--most-rows 1000000] [--paddle PYTHON]

Sections: train, tokenize, predict, start, scaling, kernels (of a training step, ours beside PyTorch's), parity (the same loss and score
as a plain loop); all = the first four. ``--quick`` measures what the bars of nano on service texts ask for, each section in about a minute
or less once networks and graphs are made (``--work``, build/speed, keeps them). Without it: nano on service, news and long texts, medium,
base and ernie_tiny on service texts; with ``--configurations`` and ``--lengths``, each of one with each of the other.

Configurations: nano 4x312 with 12 heads and 40,000 words, medium 6x768, base 12x768, ernie_tiny 6x384. Length sets: service (mean 18
tokens), news (22), long (190): real texts where NLPHUB_DATA is set, else pieces of the demo data.

Variants run in turns (A B A B ...) and ratios are medians of the ratios of single rounds, so that what else the machine does meets all of
them. The last lines say of every bar what was measured, and the exit code is 1 if one was missed.

Peers are used where they are installed, a missing one is a line that says so. In an environment of their own:

    python -m venv peers
    peers/bin/pip install -e '.[train]' 'transformers>=5' accelerate onnxruntime onnxscript openvino tokenizers matplotlib
    NLPHUB_DATA=... peers/bin/python benchmarks/speed.py all

PaddleNLP does not import with the current versions of what it needs, so it has another environment, where predict runs it:

    python3.11 -m venv peers-paddle
    peers-paddle/bin/pip install paddlepaddle==3.3.1 paddlenlp==2.8.1 huggingface_hub==0.23.4 'aistudio-sdk<0.3' datasets==2.19.2 \\
        pyarrow==15.0.2 'pandas<2.3'
    peers/bin/python benchmarks/speed.py predict --paddle peers-paddle/bin/python
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from speeds import show
from speeds.networks import CONFIGURATIONS
from speeds.rows import Options, Row
from speeds.texts import LENGTHS

from nlphub.runtime.session import cores

SECTIONS = {
    "train": "train",
    "tokenize": "tokenizing",
    "predict": "predicting",
    "start": "starting",
    "scaling": "scaling",
    "kernels": "kernels",
    "parity": "parity",
}
ALL = ("train", "tokenize", "predict", "start")
PAIRS = {"train", "predict"}  # sections that are measured for a configuration and a length set
FULL = (("nano", "service"), ("medium", "service"), ("nano", "long"), ("nano", "news"), ("ernie_tiny", "service"), ("base", "service"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("section", choices=[*SECTIONS, "all"])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg")
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--work", type=Path, default=Path(__file__).parents[1] / "build" / "speed")
    parser.add_argument("--configurations", type=names(CONFIGURATIONS), metavar="NAME,...")
    parser.add_argument("--lengths", type=names(LENGTHS), metavar="NAME,...")
    parser.add_argument("--most-rows", type=int, default=1_000_000)
    parser.add_argument("--paddle", type=Path, metavar="PYTHON", help="of an environment with PaddleNLP")
    given = parser.parse_args()
    data = os.environ.get("NLPHUB_DATA")
    options = Options(
        quick=given.quick, threads=given.threads, work=given.work.absolute(), rounds=given.rounds, data=Path(data) if data else None,
        most_rows=given.most_rows, paddle=given.paddle,
    )  # fmt: skip
    options.work.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    rows = list(measured(given, options))
    facts = show.report(rows, options, time.perf_counter() - started)
    print(json.dumps(facts, ensure_ascii=False, indent=2) if given.json else show.text(rows, facts))
    if given.plot:
        show.plot(rows, given.plot)
    sys.exit(bool(show.missed(rows)))


def names(known: object) -> Callable[[str], tuple[str, ...]]:
    """A reader of comma-separated names."""

    def read(text: str) -> tuple[str, ...]:
        found = tuple(text.split(","))
        if wrong := [name for name in found if name not in known]:  # type: ignore[operator]
            raise argparse.ArgumentTypeError(f"{', '.join(wrong)}: none of {', '.join(known)}")  # type: ignore[call-overload]
        return found

    return read


def measured(given: argparse.Namespace, options: Options) -> Iterator[Row]:
    """Rows of the sections that are asked for, each name once."""
    seen: set[str] = set()
    for section in ALL if given.section == "all" else (given.section,):
        run = import_module(f"speeds.{SECTIONS[section]}").run
        for each in asked(section, given, options):
            for row in run(each):
                if row.name not in seen:
                    seen.add(row.name)
                    yield row


def asked(section: str, given: argparse.Namespace, options: Options) -> list[Options]:
    """The options of each pair of configuration and length set."""
    if section not in PAIRS:
        return [replace(options, configurations=given.configurations or options.configurations)]
    if given.configurations or given.lengths:
        pairs = [(name, lengths) for name in given.configurations or ("nano",) for lengths in given.lengths or ("service",)]
    else:
        pairs = [*FULL[:1]] if options.quick else [*FULL]
    return [replace(options, configurations=(name,), lengths=(lengths,)) for name, lengths in pairs]


if __name__ == "__main__":
    main()
