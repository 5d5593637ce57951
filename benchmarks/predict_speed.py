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

OpenVINO in an environment of its own (it needs another numpy at times):

    python -m venv peers && peers/bin/pip install openvino
    PYTHONPATH=$(echo peers/lib/python*/site-packages) python benchmarks/predict_speed.py

Every round runs all routes one after the other; a ratio is the median over the rounds of peer's time by ours, so that what else the
machine does meets all of them. `wall` is what users wait for, `cpu` the processor time of the process, which a busy machine changes less.
One by one: 200 texts alone, median time of one. In the same run all labels are compared; one that differs while its two best
probabilities are further apart than 1e-3 fails the run. Cold start: from the start of a process to the first answer, a fresh process each
time.
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

import nlphub as hub
from nlphub.runtime.session import cores

SETS = ("cic", "smp2017_ecdt", "smp2019_ecdt_nlu", "tnews", "waimai_10k")
OURS = "nlphub"
MARGIN = 1e-3
NAMES = ("input_ids", "attention_mask", "token_type_ids")

Answer = Callable[[Sequence[str]], list[str]]


@dataclass(frozen=True)
class Route:
    """One way from strings to labels."""

    name: str
    many: Answer
    one: Answer
    settings: str = ""


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


def sorted_rows(lengths: Sequence[int], rows: int) -> Iterator[np.ndarray[Any, Any]]:
    order = np.argsort(lengths, kind="stable")
    yield from (order[first : first + rows] for first in range(0, len(order), rows))


def ours(folder: Path, threads: int, precision: str = "fp32") -> Route:
    predictor = hub.Predictor(folder, threads=threads, precision=precision, warm_up=True)

    def answer(texts: Sequence[str]) -> list[str]:
        return [found.top[0][0] for found in predictor(texts, top_k=1)]

    return Route(OURS if precision == "fp32" else f"{OURS} {precision}", answer, answer, f"{threads} threads")


class Transformers:
    """The artefact in transformers, as its documentation has it."""

    def __init__(self, folder: Path, threads: int) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        torch.set_num_threads(threads)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        self.labels, self.threads, self.run = (
            [self.model.config.id2label[n] for n in range(self.model.config.num_labels)],
            threads,
            self.model,
        )

    def batch(self, texts: Sequence[str]) -> list[str]:
        import torch

        with torch.inference_mode():
            given = self.tokenizer(list(texts), padding=True, truncation=True, max_length=512, return_tensors="pt")
            best = self.run(**given).logits.argmax(-1)
        return [self.labels[row] for row in best.tolist()]

    def arrival(self, texts: Sequence[str]) -> list[str]:
        return [label for first in range(0, len(texts), 32) for label in self.batch(texts[first : first + 32])]

    def sorted(self, texts: Sequence[str]) -> list[str]:
        found = [""] * len(texts)
        for rows in sorted_rows([len(text) for text in texts], 32):
            for row, label in zip(rows.tolist(), self.batch([texts[row] for row in rows]), strict=True):
                found[row] = label
        return found

    def export(self, path: Path) -> Path:
        """The graph that `torch.onnx.export` makes of it."""
        import torch

        class Logits(torch.nn.Module):
            def __init__(self, model: torch.nn.Module) -> None:
                super().__init__()
                self.model = model

            def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
                return self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).logits

        given = tuple(torch.ones(2, 8, dtype=torch.int64) for _ in NAMES)
        named = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence", max=512)}
        same = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
        shapes = (named, same, same)
        torch.onnx.export(
            Logits(self.model), given, str(path), dynamo=True, input_names=list(NAMES), output_names=["logits"], dynamic_shapes=shapes,
            opset_version=18, external_data=False, verbose=False,
        )  # fmt: skip
        return path

    def routes(self) -> list[Route]:
        return [
            Route("transformers", self.arrival, self.batch, f"32 rows, {self.threads} threads"),
            Route("transformers sorted", self.sorted, self.batch, f"32 rows, {self.threads} threads"),
        ]

    def compiled(self) -> Route:
        import torch

        self.run = torch.compile(self.model, dynamic=True)
        return Route("torch.compile", self.sorted, self.batch, "32 rows, dynamic")


class Padded:
    """What the two runtimes share: the `tokenizers` library, and padding with numpy."""

    def __init__(self, folder: Path, labels: Sequence[str]) -> None:
        from tokenizers import Tokenizer

        self.tokenizer, self.labels = Tokenizer.from_file(str(folder / "tokenizer.json")), labels
        self.tokenizer.enable_truncation(512)
        self.tokenizer.no_padding()

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        return [found.ids for found in self.tokenizer.encode_batch_fast(list(texts))]

    def padded(self, ids: Sequence[list[int]]) -> dict[str, Any]:
        width = max(map(len, ids))
        given = np.zeros((len(ids), width), np.int64)
        mask = np.zeros_like(given)
        for row, each in enumerate(ids):
            given[row, : len(each)] = each
            mask[row, : len(each)] = 1
        return dict(zip(NAMES, (given, mask, np.zeros_like(given)), strict=True))

    def named(self, logits: Any) -> list[str]:
        return [self.labels[row] for row in logits.argmax(-1).tolist()]


class Onnxruntime(Padded):
    """onnxruntime as a good engineer sets it."""

    def __init__(self, folder: Path, labels: Sequence[str], graph: Path, threads: int, rows: int) -> None:
        super().__init__(folder, labels)
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self.session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        self.threads, self.rows = threads, rows

    def many(self, texts: Sequence[str]) -> list[str]:
        ids, found = self.ids(texts), [""] * len(texts)
        for rows in sorted_rows([len(each) for each in ids], self.rows):
            (logits,) = self.session.run(["logits"], self.padded([ids[row] for row in rows]))
            for row, label in zip(rows.tolist(), self.named(logits), strict=True):
                found[row] = label
        return found

    def one(self, texts: Sequence[str]) -> list[str]:
        return self.named(self.session.run(["logits"], self.padded(self.ids(texts)))[0])


def best_onnxruntime(folder: Path, labels: Sequence[str], graph: Path, threads: int, texts: Sequence[str]) -> Route:
    """The fastest of the settings for many texts, and for one."""
    made = [Onnxruntime(folder, labels, graph, count, 32) for count in dict.fromkeys((1, threads))]
    seconds: dict[tuple[int, int], list[float]] = {}
    for _ in range(2):
        for number, each in enumerate(made):
            for each.rows in (16, 32, 64, 128):
                seconds.setdefault((number, each.rows), []).append(timed(each.many, texts)[0])
    number, rows = min(seconds, key=lambda key: min(seconds[key]))
    many, one = made[number], min(made, key=lambda each: min(timed(each.one, texts[:1])[0] for _ in range(20)))
    many.rows = rows
    return Route("onnxruntime", many.many, one.one, f"{rows} rows, {many.threads} threads; one by one {one.threads} threads")


class Openvino(Padded):
    """OpenVINO with its own scheduling."""

    def __init__(self, folder: Path, labels: Sequence[str], graph: Path, threads: int) -> None:
        super().__init__(folder, labels)
        import openvino

        core = openvino.Core()
        core.set_property("CPU", {"INFERENCE_NUM_THREADS": threads})
        exact = {"INFERENCE_PRECISION_HINT": "f32"}
        self.queue_of = openvino.AsyncInferQueue
        self.fast = core.compile_model(str(graph), "CPU", {"PERFORMANCE_HINT": "THROUGHPUT", **exact})
        self.soon = core.compile_model(str(graph), "CPU", {"PERFORMANCE_HINT": "LATENCY", **exact})

    def many(self, texts: Sequence[str]) -> list[str]:
        ids, found = self.ids(texts), [""] * len(texts)
        queue = self.queue_of(self.fast)

        def take(request: Any, rows: Any) -> None:
            for row, label in zip(rows.tolist(), self.named(request.get_output_tensor(0).data), strict=True):
                found[row] = label

        queue.set_callback(take)
        for rows in sorted_rows([len(each) for each in ids], 32):
            queue.start_async(self.padded([ids[row] for row in rows]), rows)
        queue.wait_all()
        return found

    def one(self, texts: Sequence[str]) -> list[str]:
        return self.named(self.soon(self.padded(self.ids(texts)))[0])


def timed(answer: Answer, texts: Sequence[str]) -> tuple[float, float, list[str]]:
    """Wall and processor seconds, and the labels."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = answer(texts)
    return time.perf_counter() - wall, time.process_time() - cpu, found


def routes_of(folder: Path, work: Path, options: argparse.Namespace, texts: Sequence[str]) -> list[Route]:
    """All that can run here; the rest is said on standard error."""
    made = [ours(folder, options.threads)]
    peer = Transformers(folder, options.threads)
    made += peer.routes()
    graph = work / "peer.onnx"
    if not graph.is_file():
        with quiet():
            peer.export(graph)
    made.append(best_onnxruntime(folder, peer.labels, graph, options.threads, texts[:100]))
    try:
        runtime = Openvino(folder, peer.labels, graph, options.threads)
        made.append(Route("OpenVINO", runtime.many, runtime.one, "32 rows, THROUGHPUT; one by one LATENCY"))
    except ImportError:
        print("OpenVINO is not installed here; see the top of this file", file=sys.stderr)
    if options.compile:
        made.append(peer.compiled())
    return made


def precisions(folder: Path, threads: int) -> list[Route]:
    """The artefact's other graphs, where its export made them; they are beside our own fp32 only."""
    there = {"int8": "onnx/model_int8.onnx"}
    return [ours(folder, threads, name) for name, path in there.items() if (folder / path).is_file()]


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
    close = [answer.top[0][1] - answer.top[1][1] < MARGIN for answer in answers]
    expected = [answer.top[0][0] for answer in answers]
    found = {}
    for route in routes:
        wrong = [row for row, label in enumerate(route.many(texts)) if label != expected[row]]
        found[route.name] = (len(wrong), sum(not close[row] for row in wrong))
    return found


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


def ratio(peer: Sequence[float], mine: Sequence[float]) -> float:
    return statistics.median(theirs / own for theirs, own in zip(peer, mine, strict=True))


@contextmanager
def quiet() -> Iterator[None]:
    import logging
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)
        yield
    logging.disable(logging.NOTSET)


def versions() -> dict[str, str]:
    found = {"python": sys.version.split()[0]}
    for name in ("onnxruntime", "transformers", "tokenizers", "torch", "openvino", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


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
        peers = routes_of(folder, work, options, texts)
        others = precisions(folder, options.threads)
        seconds = measure([*peers, *others], texts, rounds, alone)
        wrong, cold = differing(folder, peers, texts), cold_start(folder, starts)
    rows = [
        {
            "route": route.name, "settings": route.settings, "texts_per_second": count / statistics.median(mine["wall"]),
            "texts_per_cpu_second": count / statistics.median(mine["cpu"]), "one_ms": 1000 * statistics.median(mine["one"]),
            **{f"{kind}_ratio": ratio(mine[kind], seconds[OURS][kind]) for kind in ("wall", "cpu", "one")},
            "labels_differ": wrong.get(route.name, (0, 0))[0], "not_close": wrong.get(route.name, (0, 0))[1],
        }
        for route in [*peers, *others]
        for mine in [seconds[route.name]]
    ]  # fmt: skip
    report = {"texts": count, "rounds": rounds, "threads": options.threads, "cold_start": cold, "versions": versions(), "rows": rows}
    if options.json:
        print(json.dumps(report, ensure_ascii=False, indent=2))
    else:
        show(report)
    sys.exit(any(row["not_close"] for row in rows))


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
