"""Section ``predict``: from unsorted strings to labels, in PyTorch, beside transformers, onnxruntime and OpenVINO on the same network.

``Module.predict`` tokenises all texts at once, packs them without padding, neighbours of equal length, and computes the last layer for
[CLS] rows only. Labels of all routes are compared in the same run.
"""

import json
import os
import statistics
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nlphub as hub
from nlphub.data.batching import token_batches
from nlphub.nn.inference import BATCH_TOKENS
from speeds import networks, peers, texts
from speeds.machine import products
from speeds.peers import Route
from speeds.rows import Bar, Options, Row, missing
from speeds.timing import Timings, Variant, interleaved

_OURS = "Module.predict"
_LIMIT = "matrix products alone"
_FASTER = {
    "onnxruntime": Bar("prediction in PyTorch fp32, unsorted: >= 1.3x onnxruntime fp32 sorted by length", 1.3),
    "transformers": Bar("prediction in PyTorch fp32, unsorted: >= 3.5x transformers in the order of arrival", 3.5),
}
_SAME = Bar("labels of all routes are equal wherever they are not close", 0, kind="most", of="ours")
_INSTALL = (
    "install it with `python -m venv peers && peers/bin/pip install openvino`, then PYTHONPATH=$(echo peers/lib/python*/site-packages)"
)


def run(options: Options) -> list[Row]:
    """Rows of every configuration and length set; the bars are of ``nano`` on ``service``."""
    import torch

    torch.set_num_threads(options.threads)
    return [row for name in options.configurations for lengths in options.lengths for row in compare(options, name, lengths)]


def compare(options: Options, name: str, lengths: str) -> list[Row]:
    """One network on one length set."""
    count = (160 if options.quick else 800) // {"nano": 1, "ernie_tiny": 2}.get(name, 10) // (8 if lengths == "long" else 1)
    given, title = texts.texts_of(lengths, max(count, 32), options.data), f"predict {name}/{lengths}"
    module, routes, absent = _routes(options, name, given)
    variants: dict[str, Variant] = {route.name: _work(route.many, given) for route in routes}
    limit = products(networks.CONFIGURATIONS[name], _batches(module, given), cls_only=True)
    variants[_LIMIT] = _counted(limit, len(given))
    timings = interleaved(variants, options.rounds or 3)
    judged = (name, lengths) == ("nano", "service")
    measured = [*routes[1:], Route(_LIMIT, routes[0].many, routes[0].one, "ratio = our share of the limit")]
    rows = [_row(title, timings, route, judged=judged, options=options) for route in measured]
    rows += [missing(f"{title}, {peer}", reason) for peer, reason in absent.items()]
    paddle = [] if options.quick else [_paddle(title, timings, networks.artefact(name, options.work), given, options)]
    return [*rows, *paddle, _same(title, module, routes, given)]


def _routes(options: Options, name: str, given: Sequence[str]) -> tuple[Any, list[Route], dict[str, str]]:
    """The module, ours first and the peers that are here, and why others are not."""
    module, folder = networks.classifier(name, options.work), networks.artefact(name, options.work)
    routes, absent = [Route(_OURS, *(lambda some: [one.top[0][0] for one in module.predict(some, top_k=1)],) * 2)], dict[str, str]()
    makers: dict[str, Callable[[], list[Route]]] = {
        "transformers": lambda: _with_torch(options, folder, given),
        "OpenVINO": lambda: _openvino(options, folder, module),
        "Predictor": lambda: [_predictor(options, folder)],
    }
    for peer, make in makers.items():
        if options.quick and peer != "transformers":
            continue
        try:
            routes += make()
        except ImportError as absence:
            absent[peer] = f"{absence}; {_INSTALL}" if peer == "OpenVINO" else str(absence)
    return module, routes, absent


def _with_torch(options: Options, folder: Path, given: Sequence[str]) -> list[Route]:
    """transformers in the order of arrival and sorted, and onnxruntime, whose graph is made from it."""
    peer = peers.Transformers(folder, options.threads)
    arrival, by_length = peer.routes()
    graph, some = _graph(folder, peer), given[: 32 if options.quick else 200]
    made = [arrival, peers.best_onnxruntime(folder, peer.labels, graph, options.threads, some)]
    return made if options.quick else [*made, by_length]


def _openvino(options: Options, folder: Path, module: Any) -> list[Route]:
    runtime = peers.Openvino(folder, module.labels, _graph(folder), options.threads)
    return [Route("OpenVINO", runtime.many, runtime.one, "32 rows sorted, THROUGHPUT, f32")]


def _predictor(options: Options, folder: Path) -> Route:
    predictor = hub.Predictor(folder, threads=options.threads)
    return Route("Predictor", *(lambda some: [one.top[0][0] for one in predictor(some, top_k=1)],) * 2, "our own artefact")


def _paddle(title: str, timings: Timings, folder: Path, given: Sequence[str], options: Options) -> Row:
    """PaddleNLP in its own environment and process: not in turns with the others, so the ratio is that of two medians."""
    name = f"{title}, PaddleNLP"
    if options.paddle is None:
        return missing(name, "--paddle PYTHON names the Python of an environment with it (top of benchmarks/speed.py)")
    texts_file = options.work / "paddle_texts.json"
    texts_file.write_text(json.dumps(list(given)), "utf-8")
    command = [str(options.paddle), str(Path(__file__).with_name("paddle_peer.py")), str(folder), str(texts_file), "3"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": str(options.threads)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        return missing(name, f"it failed: {done.stderr.strip().splitlines()[-1]}")
    told = json.loads(done.stdout.splitlines()[-1])
    theirs, mine = statistics.median(told["rates"]), timings.rate(_OURS)
    settings = f"sorted, 32 rows, random weights, a process of its own; paddlepaddle {told['paddlepaddle']}, paddlenlp {told['paddlenlp']}"
    return Row(name, mine, theirs, mine / theirs, "texts/cpu-s", settings)


def _graph(folder: Path, peer: peers.Transformers | None = None) -> Path:
    path = folder.with_name(f"{folder.name}.peer.onnx")
    return path if peer is None else peers.graph_of(peer, path)


def _work(answer: Callable[[Sequence[str]], list[str]], given: Sequence[str]) -> Variant:
    def run() -> float:
        return float(len(answer(given)))

    return run


def _counted(work: Callable[[], None], units: int) -> Variant:
    def run() -> float:
        work()
        return float(units)

    return run


def _batches(module: Any, given: Sequence[str]) -> list[tuple[int, int]]:
    lengths = module.tokenize(given).lengths
    return [(int(lengths[rows].sum()), len(rows)) for rows in token_batches(lengths, max_tokens=BATCH_TOKENS)]


def _row(title: str, timings: Timings, route: Route, *, judged: bool, options: Options) -> Row:
    """Rates of processor time, which a busy machine changes least; the ratio of what users wait for stands beside them."""
    wall = f"ratio of wall time {timings.ratio(_OURS, route.name, 'wall'):.2f}"
    settings = "; ".join(part for part in (route.settings, f"{options.threads} threads", wall) if part)
    bars = (_FASTER[route.name],) if judged and route.name in _FASTER else ()
    by_cpu = timings.ratio(_OURS, route.name)
    return Row(f"{title}, {route.name}", timings.rate(_OURS), timings.rate(route.name), by_cpu, "texts/cpu-s", settings, bars)


def _same(title: str, module: Any, routes: Sequence[Route], given: Sequence[str]) -> Row:
    """How many labels of the peers differ from ours without being close."""
    answers = module.predict(given, top_k=2)
    found = {route.name: peers.not_close(answers, route.many(given)) for route in routes[1:]}
    told = ", ".join(f"{name}: {differ} differ, {far} of them not close" for name, (differ, far) in found.items())
    return Row(f"{title}, labels that differ", float(sum(far for _, far in found.values())), None, None, "labels", told, (_SAME,))
