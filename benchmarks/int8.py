"""What 8 and 16 bits cost and save: size, speed, score and agreement of each kind of graph of a run, on its dev set and its test set.

    python benchmarks/int8.py runs/intent [--kinds static dynamic fp16] [--work folder] [--kept folder] [--json]

Each kind is an export of its own, with a bound of 100 points, so that it is measured even where a gate would refuse it; the score on the
test set, which no gate and no range of ``static`` has seen, stands beside. Finished kinds are kept as small JSON files under
``benchmarks/results/int8/``, by the digest of the weights; delete them to measure again. Times are of this machine, from strings to
answers, with the Predictor's own threads, the best of three rounds in turn with float32.
"""

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nlphub as hub
from nlphub.aligned import aligned
from nlphub.checkpoints.native import weights_digest
from nlphub.data.examples import Examples
from nlphub.data.read import load_splits
from nlphub.export import gate
from nlphub.files import publish_json
from nlphub.nn.forms import variant_of
from nlphub.recipe import load_recipe
from nlphub.training.run_folder import dev_examples, export_options

RESULTS = Path(__file__).parent / "results" / "int8"
KINDS = ("static", "dynamic", "fp16")
HEADER = ("graph", "MB", "text file MB", "dev", "test", "agree dev", "agree test", "ms (one text)", "texts/s", "times as fast")


def measure(module: Any, run: Path, kind: str, splits: dict[str, Examples], work: str) -> dict[str, Any]:
    """One export, and its scores and agreement on every split."""
    options: dict[str, Any] = {"fp16": True} if kind == "fp16" else {"int8": kind}
    precision = "fp16" if kind == "fp16" else "int8"
    with tempfile.TemporaryDirectory(dir=work) as folder:
        target = Path(folder) / "artefact"
        known = {name: value for name, value in export_options(run).items() if name in ("pairs", "recipe")}
        report = module.export(target, dev=splits["dev"], int8_bound=100.0, **known, **options)
        plain, small = hub.Predictor(target), hub.Predictor(target, precision=precision)
        cells: dict[str, Any] = {"graphs": report.reduced["graphs"], "score": report.reduced["score"], "splits": {}}
        for name, examples in splits.items():
            dev = gate.Development.of(module.task, variant_of(module.head), module.labels, examples)
            ours, theirs = gate.judge(plain, dev), gate.judge(small, dev)
            alike = gate.agreement(ours.answers, theirs.answers)
            cells["splits"][name] = {"examples": len(examples), "fp32": ours.score, "small": theirs.score, "agreement": alike}
    versions = {name: version(name) for name in ("onnxruntime", "onnx", "numpy", "torch")}
    return cells | {"kind": kind, "precision": precision, "machine": platform.processor() or platform.machine(), "versions": versions}


def rows(found: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Of float32 (as it was measured beside the first kind) and of every kind."""
    for number, one in enumerate(found):
        plain, small, splits = one["graphs"]["fp32"], one["graphs"][one["precision"]], one["splits"]
        if number == 0:
            yield ("fp32", *_cells(plain, splits, "fp32"), "1.0")
        ratio = small["speed"]["texts_per_second"] / plain["speed"]["texts_per_second"]
        yield (one["kind"], *_cells(small, splits, "small"), f"{ratio:.2f}")


def _cells(graph: dict[str, Any], splits: dict[str, Any], side: str) -> tuple[str, ...]:
    text = graph.get("text_file", {}).get("bytes")
    scores = tuple(f"{splits[name][side]:.4f}" if name in splits else "" for name in ("dev", "test"))
    alike = tuple(f"{splits[name]['agreement']:.2%}" if side == "small" and name in splits else "" for name in ("dev", "test"))
    speed = (f"{graph['speed']['latency_ms']:.1f}", f"{graph['speed']['texts_per_second']:.0f}")
    return (f"{graph['bytes'] / 1e6:.1f}", f"{text / 1e6:.1f}" if text else "", *scores, *alike, *speed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--work", default=tempfile.gettempdir(), help="for the exports, about 100 MB")
    parser.add_argument("--kept", type=Path, default=RESULTS, help="the folder of finished kinds")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    dev = dev_examples(options.run)
    if dev is None:
        sys.exit(f"{options.run} is no run with a dev set")
    recipe = load_recipe(options.run / "recipe.yaml")
    every = load_splits(recipe.data, seed=recipe.train.seed)
    splits = {"dev": dev, **({"test": every["test"]} if "test" in every else {})}
    module, found = hub.Module(directory=options.run, import_code=False), []
    for kind in options.kinds:
        path = options.kept / f"{weights_digest(module.encoder, module.head)[:12]}-{kind}.json"
        if not path.is_file():
            publish_json(path, measure(module, options.run, kind, splits, options.work))
        found.append(json.loads(path.read_text("utf-8")))
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        print(aligned(HEADER, list(rows(found))))
        sizes = ", ".join(f"{name} {len(examples)} examples" for name, examples in splits.items())
        print(f"\nscore: {found[0]['score']}; {sizes}; onnxruntime {found[0]['versions']['onnxruntime']}, {found[0]['machine']}")


if __name__ == "__main__":
    main()
