"""Strings of all kinds through a module, its Predictor and its text graph: are the answers the same?

    NLPHUB_DATA=... python benchmarks/text_graph.py runs/intent dist/intent [--texts 20000] [--json]

``runs/intent`` is a run or a saved module of single texts, ``dist/intent`` its artefact (`nlphub export runs/intent dist/intent`). A third
of the strings are real (of the sets in ``NLPHUB_DATA``, else of the demo data), a third random Unicode, a third made to do harm: control
characters, direction marks, lone surrogates, special entries, very long lines. Probabilities have to agree to 1e-5, labels and acceptance
wherever no other answer is within 1e-5; those that are nearer are counted. The exit code is 1 if they do not.
"""

import argparse
import json
import lzma
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import nlphub as hub
from nlphub.data.batching import token_batches
from nlphub.export.textgraph import Answering, compare
from nlphub.runtime.textgraph import TextGraph

TOLERANCE = 1e-5
SETS = ("cic", "smp2017_ecdt", "tnews", "lcqmc", "waimai_10k", "bank_reviews_sent", "iflytek_sub")
VARIANTS = ("我的订单号abc12还没到", "我的訂單號ABC12還沒到", "我的订单号ＡＢＣ１２还没到", "我的訂單號ａｂｃ１２還沒到")
PIECES = (
    "\x00", "\ud800", "\udfff", "\u202e", "\u200d", "\ufeff", "\u3000", "[MASK]", "[SEP]", "[PAD]", "''", "\\x", "好", "退货", "Ａ", "é",
    "e\u0301", "👨‍👩‍👧", "\r\n", "\t", "<script>", "\U0010ffff", "\U000e0020", "٣", "ﬁ", "İ", "ß", "9" * 20,
)  # fmt: skip
_BATCH_TOKENS = 8192


def real_texts() -> list[str]:
    """Questions, titles and reviews of the real sets, or those of the demo data."""
    folder = os.environ.get("NLPHUB_DATA")
    if not folder:
        return hub.load_data("bundle:recipes/data/bank_intents/train.csv")["train"].texts
    found: list[str] = []
    for name in SETS:
        path = Path(folder) / "labelled" / name / "test.jsonl.xz"
        with lzma.open(path, "rt", encoding="utf-8") as lines:
            found += [text for line in lines if isinstance(text := json.loads(line).get("text"), str)]
    return found


def random_text(source: random.Random) -> str:
    """Any code points, most of them of the blocks that are in use."""
    blocks = (range(0x250), range(0x4E00, 0xA000), range(0x2000, 0x3100), range(0xD700, 0xE100), range(0x1F000, 0x1FB00), range(0x110000))
    return "".join(chr(source.choice(source.choice(blocks))) for _ in range(source.choice((0, 1, 3, 12, 40))))


def hostile_text(source: random.Random) -> str:
    """Pieces that break tokenizers, put together; one of a thousand is very long."""
    if source.random() < 0.001:
        return source.choice(PIECES) * source.choice((600, 9000, 30000))
    return "".join(source.choice(PIECES) for _ in range(source.randint(0, 12)))


def strings(count: int, seed: int) -> list[str]:
    """The compared strings, the same for the same seed."""
    source, real = random.Random(seed), real_texts()
    makers: tuple[Callable[[], str], ...] = (lambda: source.choice(real), lambda: random_text(source), lambda: hostile_text(source))
    return [makers[number % 3]() for number in range(count)]


def batched(answer: Callable[[list[str]], list[Any]], texts: list[str], lengths: Any) -> list[Any]:
    """Answers in order, from batches of texts of about the same length."""
    found: list[Any] = [None] * len(texts)
    for rows in token_batches(lengths, max_tokens=_BATCH_TOKENS):
        for row, one in zip(rows.tolist(), answer([texts[row] for row in rows]), strict=True):
            found[row] = one
    return found


def measure(run: str, folder: str, texts: list[str]) -> Iterator[dict[str, Any]]:
    """A row for each route: how far it is from the module, and how long it took."""
    module = hub.Module(directory=run)
    encoded = module.tokenize(texts)
    answering = Answering(module.tokenizer, module.labels, module.calibration, module.max_length)
    logits, every = module.logits(texts), len(module.labels)
    expected = module.predict(texts, top_k=every)
    predictor, graph = hub.Predictor(folder), TextGraph(Path(folder) / "onnx" / "model_text.onnx")
    routes: dict[str, Callable[[], list[Any]]] = {
        "Predictor": lambda: predictor(texts, top_k=every),
        "text graph": lambda: batched(graph, texts, encoded.lengths),
    }
    for name, answer in routes.items():
        started = time.perf_counter()
        parity = compare(expected, answer(), logits, answering, tolerance=TOLERANCE)
        seconds = time.perf_counter() - started
        yield {"route": name, "texts": parity.texts, "probabilities": parity.probabilities, "differ": parity.differ, "close": parity.close,
               "holds": parity.holds, "seconds": round(seconds, 2)}  # fmt: skip
    # Each alone, and all in one batch; a sum over rows of another batch shape may round otherwise, so the two are not compared.
    kinds = [{answer for text in VARIANTS for answer in graph([text])}, set(graph(list(VARIANTS)))]
    apart = max(float(np.ptp([score for answer in kind for _, score in answer.top[:1]])) for kind in kinds)
    differ = sum(len(kind) - 1 for kind in kinds)
    yield {
        "route": "variants",
        "texts": len(VARIANTS),
        "probabilities": apart,
        "differ": differ,
        "close": 0,
        "holds": not differ,
        "seconds": 0.0,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("artefact")
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = list(measure(options.run, options.artefact, strings(options.texts, options.seed)))
    if options.json:
        print(json.dumps({"real": "NLPHUB_DATA" if os.environ.get("NLPHUB_DATA") else "demo data", "rows": rows}))
    else:
        for row in rows:
            far, end = f"probabilities within {row['probabilities']:.1e}", "ok" if row["holds"] else "DIFFERENT"
            print(f"{row['route']:12} {row['texts']:6} texts: {far}, {row['differ']} other answers, {row['close']} close ones, {end}")
    sys.exit(not all(row["holds"] for row in rows))


if __name__ == "__main__":
    main()
