"""From strings to labels: the Predictor beside transformers, onnxruntime and OpenVINO, on the same network and machine.

    NLPHUB_DATA=... python benchmarks/predict_speed.py [--artefact DIR] [--work DIR] [--texts 5000] [--rounds 5] [--quick] [--json]

The network is an artefact's (``--artefact``, of seq-cls, fine-tuned), or an ernie_tiny classifier of 31 labels with random weights that is
exported first. The peers run it from the artefact's own `transformers` files:

transformers        AutoModelForSequenceClassification (sdpa), its fast tokenizer, batches of 32 in the order of arrival
transformers sorted the same, batches of 32 sorted by length
onnxruntime         the same module exported by torch.onnx, all of onnxruntime's optimisations, texts sorted by length, the `tokenizers`
                    library; threads and rows of a batch are the best of eight settings, tried before
OpenVINO            the same file, asynchronous requests, hint THROUGHPUT (LATENCY one by one); where `openvino` is installed
torch.compile       with --compile: the sorted one, compiled (minutes)
... int8            where the artefact has an int8 graph (`nlphub export --int8 auto`): ours, onnxruntime's dynamic quantisation (a scale
                    for each column), OpenVINO's by NNCF (where `nncf` is installed). Their ratios are to ours in int8

OpenVINO in an environment of its own (it needs another numpy at times):

    python -m venv peers && peers/bin/pip install openvino nncf
    PYTHONPATH=$(echo peers/lib/python*/site-packages) python benchmarks/predict_speed.py

Every round runs all routes one after the other; a ratio is the median over the rounds of peer's time by ours, so that what else the
machine does meets all of them. `wall` is what users wait for, `cpu` the processor time of the process, which a busy machine changes less.
One by one: 200 texts alone, median time of one. In the same run all labels are compared; one that differs while its two best
probabilities are further apart than 1e-3 fails the run (in float32; in int8 they are counted). Cold start: from the start of a process to
the first answer, a fresh process each time.
"""

import argparse
import json
import lzma
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from speeds.machine import versions
from speeds.peers import Answer, Openvino, OpenvinoInt8, Route, Transformers, best_onnxruntime, graph_of, int8_graph, not_close

import nlphub as hub
from nlphub.runtime import artefact
from nlphub.runtime.session import cores

SETS = ("cic", "smp2017_ecdt", "smp2019_ecdt_nlu", "tnews", "waimai_10k")
OURS = "nlphub"
PACKAGES = ("onnxruntime", "transformers", "tokenizers", "torch", "openvino", "numpy")


def texts_of(count: int) -> list[str]:
    """Questions of users from the test files in NLPHUB_DATA, or of the demo data; repeated where they are too few."""
    folder, found = os.environ.get("NLPHUB_DATA"), list[str]()
    if not folder:
        found = list(hub.load_data("bundle:recipes/data/bank_intents/train.csv")["train"].texts)
    for name in SETS if folder else ():
        with lzma.open(Path(folder or "") / "labelled" / name / "test.jsonl.xz", "rt", encoding="utf-8") as lines:
            found += [text for line in lines if isinstance(text := json.loads(line).get("text"), str)]
        if len(found) >= count:
            break
    generator = np.random.default_rng(0)
    chosen = generator.permutation(len(found))[:count].tolist()
    return [found[chosen[row % len(chosen)]] for row in range(count)]


def make_artefact(folder: Path) -> Path:
    """An ernie_tiny classifier with random weights whose answers are far from uniform."""
    import torch

    torch.manual_seed(0)
    module = hub.Module(name="ernie_tiny", task="seq-cls", labels=[f"意图{number:02d}" for number in range(31)])
    with torch.no_grad():
        for parameter in module.head.parameters():
            parameter.mul_(20.0 if parameter.ndim > 1 else 1.0)
    module.trained = True
    module.export(folder)
    return folder


def ours(folder: Path, threads: int, precision: str = "fp32") -> Route:
    predictor = hub.Predictor(folder, threads=threads, precision=precision, warm_up=True)

    def answer(texts: Sequence[str]) -> list[str]:
        return [found.top[0][0] for found in predictor(texts, top_k=1)]

    return Route(OURS if precision == "fp32" else f"{OURS} {precision}", answer, answer, f"{threads} threads")


def timed(answer: Answer, texts: Sequence[str]) -> tuple[float, float, list[str]]:
    """Wall and processor seconds, and the labels."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = answer(texts)
    return time.perf_counter() - wall, time.process_time() - cpu, found


def routes_of(folder: Path, work: Path, peer: Transformers, options: argparse.Namespace, texts: Sequence[str]) -> list[Route]:
    """All that can run here; the rest is said on standard error."""
    made = [ours(folder, options.threads), *peer.routes()]
    graph = graph_of(peer, work / "peer.onnx")
    made.append(best_onnxruntime(folder, peer.labels, graph, options.threads, texts[:100]))
    try:
        runtime = Openvino(folder, peer.labels, graph, options.threads)
        made.append(Route("OpenVINO", runtime.many, runtime.one, "32 rows, THROUGHPUT; one by one LATENCY"))
    except ImportError:
        print("OpenVINO is not installed here; see the top of this file", file=sys.stderr)
    if options.compile:
        made.append(peer.compiled())
    return made


def in_int8(folder: Path, work: Path, peer: Transformers, threads: int, texts: Sequence[str]) -> list[Route]:
    """The artefact's int8 graph, where its export made one, and the peers' int8 of the same network."""
    if not (folder / artefact.INT8_GRAPH).is_file():
        print("the artefact has no int8 graph (nlphub export --int8 auto): no routes in int8", file=sys.stderr)
        return []
    graph = graph_of(peer, work / "peer.onnx")
    made = [ours(folder, threads, "int8")]
    made.append(best_onnxruntime(folder, peer.labels, int8_graph(graph), threads, texts[:100], name="onnxruntime int8"))
    try:
        runtime = OpenvinoInt8(folder, peer.labels, graph, threads, texts[::-1])
        made.append(Route("OpenVINO int8", runtime.many, runtime.one, "NNCF, 300 texts; 32 rows, THROUGHPUT; one by one LATENCY"))
    except ImportError as missing:
        print(f"OpenVINO in int8 is left out: {missing.name} is not installed; see the top of this file", file=sys.stderr)
    return made


def measure(routes: Sequence[Route], texts: Sequence[str], rounds: int, alone: int) -> dict[str, dict[str, list[float]]]:
    """Seconds of every route in every round."""
    found: dict[str, dict[str, list[float]]] = {route.name: {"wall": [], "cpu": [], "one": []} for route in routes}
    for route in routes:  # warm
        route.many(texts[:64])
        route.one(texts[:1])
    for _ in range(rounds):
        for route in routes:
            wall, cpu, _ = timed(route.many, texts)
            found[route.name]["wall"].append(wall)
            found[route.name]["cpu"].append(cpu)
        for route in routes:
            found[route.name]["one"].append(statistics.median(timed(route.one, [text])[0] for text in texts[:alone]))
    return found


def differing(folder: Path, routes: Sequence[Route], texts: Sequence[str]) -> dict[str, tuple[int, int]]:
    """For each peer how many labels differ from ours, and how many of those without being close."""
    answers = hub.Predictor(folder)(texts, top_k=2)
    return {route.name: not_close(answers, route.many(texts)) for route in routes}


def cold_start(folder: Path, repeats: int) -> list[float]:
    """Seconds from the start of a process to its first answer."""
    code = f"import nlphub; print(nlphub.Predictor({str(folder)!r})(['转人工'])[0].score, flush=True)"
    found = []
    for _ in range(repeats):
        started = time.perf_counter()
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            found.append(time.perf_counter() - started)
        if process.returncode or not line:
            raise SystemExit("the cold start failed")
    return found


def compared_with(name: str) -> str:
    """Ours in the precision of a route."""
    return f"{OURS} int8" if name.endswith("int8") else OURS


def ratio(peer: Sequence[float], mine: Sequence[float]) -> float:
    return statistics.median(theirs / own for theirs, own in zip(peer, mine, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artefact", type=Path)
    parser.add_argument("--work", type=Path, help="a folder of its own for each artefact: what was exported there is used again")
    parser.add_argument("--texts", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--quick", action="store_true", help="100 texts, 3 rounds, 10 alone, one cold start")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    count, rounds, alone, starts = (100, 3, 10, 1) if options.quick else (options.texts, options.rounds, 200, 7)
    texts = texts_of(count)
    with tempfile.TemporaryDirectory() as name:
        work = options.work or Path(name)
        work.mkdir(parents=True, exist_ok=True)
        folder = options.artefact or work / "artefact"
        if not folder.is_dir():
            make_artefact(folder)
        peer = Transformers(folder, options.threads)
        exact = routes_of(folder, work, peer, options, texts)
        routes = [*exact, *in_int8(folder, work, peer, options.threads, texts)]
        seconds = measure(routes, texts, rounds, alone)
        wrong, cold = differing(folder, routes, texts), cold_start(folder, starts)
    rows = [
        {
            "route": route.name, "settings": route.settings, "texts_per_second": count / statistics.median(mine["wall"]),
            "texts_per_cpu_second": count / statistics.median(mine["cpu"]), "one_ms": 1000 * statistics.median(mine["one"]),
            **{f"{kind}_ratio": ratio(mine[kind], seconds[compared_with(route.name)][kind]) for kind in ("wall", "cpu", "one")},
            "labels_differ": wrong.get(route.name, (0, 0))[0], "not_close": wrong.get(route.name, (0, 0))[1],
        }
        for route in routes
        for mine in [seconds[route.name]]
    ]  # fmt: skip
    report = {
        "texts": count,
        "rounds": rounds,
        "threads": options.threads,
        "cold_start": cold,
        "versions": versions(*PACKAGES),
        "rows": rows,
    }
    if options.json:
        print(json.dumps(report, ensure_ascii=False, indent=2))
    else:
        show(report)
    sys.exit(any(row["not_close"] for row in rows[: len(exact)]))


def show(report: dict[str, Any]) -> None:
    print(f"{report['texts']} texts, {report['rounds']} rounds, {report['threads']} threads; {report['versions']}")
    print("time by ours: above 1 we are faster; differ: labels (of them not close)")
    print(f"{'route':20} {'texts/s':>8} {'/cpu-s':>7} {'one ms':>7} | {'wall':>6} {'cpu':>6} {'one':>6} | differ  settings")
    for row in report["rows"]:
        speeds = f"{row['texts_per_second']:8.0f} {row['texts_per_cpu_second']:7.0f} {row['one_ms']:7.2f}"
        ratios = f"{row['wall_ratio']:6.2f} {row['cpu_ratio']:6.2f} {row['one_ratio']:6.2f}"
        print(f"{row['route']:20} {speeds} | {ratios} | {row['labels_differ']} ({row['not_close']})  {row['settings']}")
    print(f"cold start: {statistics.median(report['cold_start']):.2f} s (median of {len(report['cold_start'])})")


if __name__ == "__main__":
    main()
