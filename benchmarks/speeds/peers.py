"""Ways from strings to labels: transformers, onnxruntime and OpenVINO, each as a good engineer sets it, on the same network.

They run an artefact from its own `transformers` files; the graph of the runtimes is what `torch.onnx.export` makes of that model, never
our own graph. Where a package is not installed its class says so by ImportError.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MARGIN = 1e-3
NAMES = ("input_ids", "attention_mask", "token_type_ids")

Answer = Callable[[Sequence[str]], list[str]]


@dataclass(frozen=True, slots=True)
class Route:
    """One way from strings to labels."""

    name: str
    many: Answer
    one: Answer
    settings: str = ""


def sorted_rows(lengths: Sequence[int], rows: int) -> Iterator[np.ndarray[Any, Any]]:
    order = np.argsort(lengths, kind="stable")
    yield from (order[first : first + rows] for first in range(0, len(order), rows))


class Transformers:
    """The artefact in transformers, as its documentation has it."""

    def __init__(self, folder: Path, threads: int) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
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


def best_onnxruntime(
    folder: Path, labels: Sequence[str], graph: Path, threads: int, texts: Sequence[str], *, name: str = "onnxruntime"
) -> Route:
    """The fastest of the settings for many texts, and for one."""
    made = [Onnxruntime(folder, labels, graph, count, 32) for count in dict.fromkeys((1, threads))]
    seconds: dict[tuple[int, int], list[float]] = {}
    for _ in range(2):
        for number, each in enumerate(made):
            for each.rows in (16, 32, 64, 128):
                seconds.setdefault((number, each.rows), []).append(_wall(each.many, texts))
    number, rows = min(seconds, key=lambda key: min(seconds[key]))
    many, one = made[number], min(made, key=lambda each: min(_wall(each.one, texts[:1]) for _ in range(20)))
    many.rows = rows
    return Route(name, many.many, one.one, f"{rows} rows, {many.threads} threads; one by one {one.threads} threads")


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


class OpenvinoInt8(Openvino):
    """The same, quantised by NNCF as its documentation has it for transformers, with 300 texts to calibrate on."""

    def __init__(self, folder: Path, labels: Sequence[str], graph: Path, threads: int, texts: Sequence[str]) -> None:
        import nncf
        import openvino

        Padded.__init__(self, folder, labels)
        given = nncf.Dataset([self.padded([ids]) for ids in self.ids(texts[:300])])
        small = graph.with_name("openvino_int8.xml")
        openvino.save_model(nncf.quantize(openvino.Core().read_model(graph), given, model_type=nncf.ModelType.TRANSFORMER), small)
        super().__init__(folder, labels, small, threads)


def int8_graph(graph: Path) -> Path:
    """onnxruntime's dynamic quantisation of a graph, with a scale for each column of a weight, beside it; made once."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    small = graph.with_name("onnxruntime_int8.onnx")
    if not small.is_file():
        model = onnx.load(graph)
        del model.graph.value_info[:]  # torch.onnx leaves shapes of weights that it transposed since; they are inferred anew
        with quiet():
            quantize_dynamic(model, small, per_channel=True, reduce_range=True, weight_type=QuantType.QInt8)
    return small


def graph_of(peer: Transformers, path: Path) -> Path:
    """The graph of the two runtimes at ``path``, made once."""
    if not path.is_file():
        with quiet():
            peer.export(path)
    return path


def not_close(ours: Sequence[Any], labels: Sequence[str]) -> tuple[int, int]:
    """How many of a peer's labels differ from our answers (of two labels at least), and how many of those although our two best
    probabilities are further apart than :data:`MARGIN`."""
    wrong = [answer for answer, label in zip(ours, labels, strict=True) if label != answer.top[0][0]]
    return len(wrong), sum(answer.top[0][1] - answer.top[1][1] >= MARGIN for answer in wrong)


def _wall(answer: Answer, texts: Sequence[str]) -> float:
    started = time.perf_counter()
    answer(texts)
    return time.perf_counter() - started


@contextmanager
def quiet() -> Iterator[None]:
    import logging
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)
        yield
    logging.disable(logging.NOTSET)
