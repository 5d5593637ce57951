"""What the GPU can prove: correctness, determinism and speed of kernels, training steps and inference, on one NVIDIA card.

    python benchmarks/gpu.py                               # all but tuning, under nine minutes; what does not fit is named
    python benchmarks/gpu.py --part step --part ablation   # in pieces: their tables are put beside those that are there
    python benchmarks/gpu.py --part tune                   # tiles of the attention kernels for this card
    NLPHUB_DATA=folder python benchmarks/gpu.py --part tnews
    python benchmarks/gpu.py --dry-run                     # every part, tiny, on the CPU: only to see that this script runs

Results: benchmarks/results/gpu/<card>.json and .md. The figures that are promised are printed as pass, FAIL or open; nothing is asserted.
Peers: transformers (extra "dev"); flash-attn, where it is installed. Times: 20 steps to warm up, then the median of 5 rounds of 50.
"""

import argparse
import logging
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

PARTS = ("correctness", "determinism", "attention", "seams", "step", "ablation", "inference", "tnews", "tune")
RESULTS = Path(__file__).parent / "results" / "gpu"


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    import torch

    if not options.dry_run and not torch.cuda.is_available():
        print(f"no CUDA device: torch {torch.__version__} sees none here, so nothing was measured", file=sys.stderr)
        print("on a machine with an NVIDIA card:  python benchmarks/gpu.py", file=sys.stderr)
        print("here, to see that the script runs: python benchmarks/gpu.py --dry-run", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name:
        return measured(options, Path(name))


def measured(options: argparse.Namespace, work: Path) -> int:
    """Run the parts, keep and print what they found."""
    import torch
    from gpu_parts.facts import Found, Row, Setting, fault, machine, measure_peaks
    from gpu_parts.report import keep, text

    from nlphub import paths
    from nlphub.files import publish_json
    from nlphub.kernels.triton.tuned import slug

    started, device = time.perf_counter(), torch.device("cpu" if options.dry_run else "cuda")
    peaks, table = measure_peaks(device, dry=options.dry_run), dict[str, Any]()
    deadline = started + 60 * options.minutes
    setting = Setting(device, options.dry_run, work, options.data or paths.real_data(), deadline, options.row_seconds, peaks)
    facts, found = machine(device, peaks), dict[str, Found]()
    path = (options.results or (work if options.dry_run else RESULTS)) / ("dry-run" if options.dry_run else slug(facts["device"]))
    for part in options.part or (PARTS if options.dry_run else PARTS[:-1]):
        begun = time.perf_counter()
        try:
            found[part] = Found([Row(part, part, {}, "left out: the time was over")]) if setting.late() else run(part, setting, table)
        except Exception as error:  # one part that breaks leaves the others their results
            logging.getLogger(__name__).exception("part %s broke", part)
            found[part] = Found([Row(part, part, {}, fault(error))])
        print(f"{part}: {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
        keep(path, facts, {part: found[part]})
    if table:
        publish_json(path.with_name(path.name + ".tiles.json"), {"device": facts["device"], "versions": facts["versions"], **table})
        print(f"tiles for nlphub/kernels/triton/tuned/{path.name}.json: {path}.tiles.json", file=sys.stderr)
    print("\n".join(text(found)))
    print(f"{path}.json and .md, {time.perf_counter() - started:.0f} s")
    return int(any(row.note.startswith("not measured") and row.name == part for part, one in found.items() for row in one.rows))


def run(part: str, setting: Any, table: dict[str, Any]) -> Any:
    """One part."""
    from gpu_parts import kernels, seams, serving, training, tune

    if part == "tune":
        return tune.tune(setting, table)
    others = {"seams": seams, "step": training, "ablation": training, "inference": serving, "tnews": serving}
    return getattr(others.get(part, kernels), part)(setting)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=PARTS, help="may be given several times; default: all but tune")
    parser.add_argument("--dry-run", action="store_true", help="on the CPU, everything tiny")
    parser.add_argument("--minutes", type=float, default=8.0, help="rows that would begin later are left out, and named (default 8)")
    parser.add_argument("--row-seconds", type=float, default=2.5, help="that a timed row takes at most; fewer steps then (default 2.5)")
    parser.add_argument("--data", type=Path, help="folder of real data (default: NLPHUB_DATA)")
    parser.add_argument("--results", type=Path, help="where tables are kept (default benchmarks/results/gpu; nowhere in a dry run)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=UserWarning)
    logging.getLogger("nlphub").setLevel(logging.ERROR)
    sys.exit(main())
