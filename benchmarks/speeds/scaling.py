"""Section ``scaling``: cost against length, batch tokens, labels, rows and threads.

All is of one network, ``nano`` unless another is asked for, but the rows, whose memory does not depend on the network: they are of two
narrow layers, in a process of its own for each number. Rates count processor time, those over threads wall time. The peer of length and
batch is the matrix products alone, so that their ratio is our share of the limit; of the others it is the smallest value, so that the
ratio says what growing costs.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from nlphub.data.batching import pack, token_batches
from nlphub.nn.inference import BATCH_TOKENS
from nlphub.text.encoding import Encoded
from speeds import children, networks
from speeds.machine import products
from speeds.rows import Bar, Options, Row
from speeds.texts import texts_of
from speeds.timing import Variant, interleaved

LENGTHS = (8, 16, 32, 64, 128, 256, 512)
BATCHES = (128, 512, 1024, 2048, 4096, 8192, 16384)
LABELS = (2, 31, 1000, 10_000)
LEAST_ROWS = 1000
_FLAT = 64  # MiB that the largest file may need above the smallest
_LABELS = Bar("10,000 labels take at most 1.5x the time of 2: the classifier does not dominate", 1.5, kind="most")
_TRAINING = Bar("memory of training on a file hardly grows: 10^6 rows need at most 128 MiB more than 1,000", 128, kind="most", of="ours")
_ROWS = Bar(f"memory of answering a file is flat: at most {_FLAT} MiB above 1,000 rows", _FLAT, kind="most", of="ours")


def run(options: Options) -> list[Row]:
    """All studies; ``quick`` takes every second value and a tenth of the work."""
    import torch

    torch.set_num_threads(options.threads)
    studies = (lengths, batches, labels, files, training_rows, threads)
    return [row for study in studies for row in study(options)]


def lengths(options: Options) -> list[Row]:
    """The same number of tokens in sequences of one length."""
    module, tokens = _network(options), 2048 if options.quick else 8192
    found = []
    for length in _some(LENGTHS, options):
        encoded = _same_length(length, max(tokens // length, 1))
        rate, limit, ratio = _beside_products(module, encoded, BATCH_TOKENS, options)
        found.append(Row(f"scaling length {length}", rate, limit, ratio, "tokens/cpu-s", f"{len(encoded)} sequences; {_told(options)}"))
    return found


def batches(options: Options) -> list[Row]:
    """Service texts in batches of at most so many tokens."""
    module = _network(options)
    encoded = module.tokenize(texts_of("service", 200 if options.quick else 1500, options.data))
    found = []
    for tokens in _some(BATCHES, options):
        rate, limit, ratio = _beside_products(module, encoded, tokens, options)
        found.append(Row(f"scaling batch_tokens {tokens}", rate, limit, ratio, "tokens/cpu-s", f"{len(encoded)} texts; {_told(options)}"))
    return found


def labels(options: Options) -> list[Row]:
    """From strings to labels, with more and more of them."""
    given = texts_of("service", 100 if options.quick else 500, options.data)
    modules = {str(count): _network(options, labels=count) for count in _some(LABELS, options)}
    variants: dict[str, Variant] = {name: partial(_answer, module, given) for name, module in modules.items()}
    timings, (least, *_) = interleaved(variants, options.rounds or 3), modules
    return [
        Row(
            f"scaling labels {name}", timings.rate(name), timings.rate(least), timings.ratio(least, name), "texts/cpu-s",
            f"ratio: time by that of {least} labels; {_told(options)}", (_LABELS,) if name == "10000" else (),
        )
        for name in modules
    ]  # fmt: skip


def files(options: Options) -> list[Row]:
    """Answering files of more and more rows with a saved module, as `nlphub predict RUN --input FILE --output FILE` does."""
    folder = networks.saved("toy", options.work)
    bars = {options.most_rows: (_ROWS,)} if not options.quick else {}
    return list(_of_rows("files", "answer_file", folder, _counts(options), options, bars))


def training_rows(options: Options) -> list[Row]:
    """Fine-tuning for a few steps on more and more rows: what holding them costs."""
    folder = networks.encoder_folder("toy", options.work)
    return list(_of_rows("training_rows", "train_rows", folder, _counts(options), options, {1_000_000: (_TRAINING,)}))


def threads(options: Options) -> list[Row]:
    """Predictions with one, two, ... threads; wall time."""
    from nlphub.runtime.session import cores

    counts = [count for count in (1, 2, 4, 8, 16, 32, 64) if count <= cores()]
    given, module = texts_of("service", 200 if options.quick else 1500, options.data), _network(options)
    variants: dict[str, Variant] = {str(count): partial(_threaded, count, module, given) for count in counts}
    timings = interleaved(variants, options.rounds or 3)
    _set(options.threads)
    return [
        Row(f"scaling threads {name}", timings.rate(name, "wall"), timings.rate("1", "wall"), timings.ratio(name, "1", "wall"), "texts/s",
            "wall time; ratio: by one thread")
        for name in variants
    ]  # fmt: skip


def _network(options: Options, *, labels: int = networks.LABELS) -> Any:
    return networks.classifier(options.configurations[0], options.work, labels=labels)


def _of_rows(
    study: str, what: str, folder: Any, counts: Sequence[int], options: Options, bars: dict[int, tuple[Bar, ...]]
) -> Iterator[Row]:
    least: dict[str, Any] = {}
    for count in counts:
        found = children.run(what, folder, str(count), threads=options.threads)
        least = least or found
        above = found["peak"] - least["peak"]
        settings = f"peak {found['peak']:.0f} MiB, {found['seconds']:.1f} s of processor time; ours: MiB above {counts[0]:,} rows"
        yield Row(f"scaling {study} {count}", above, None, None, "MiB", settings, bars.get(count, ()))


def _beside_products(module: Any, encoded: Encoded, tokens: int, options: Options) -> tuple[float, float, float]:
    """Tokens a processor second of the network in batches of ``tokens``, and of its matrix products alone, and their ratio."""
    groups = list(token_batches(encoded.lengths, max_tokens=tokens))
    shape, sizes = networks.CONFIGURATIONS[options.configurations[0]], [(int(encoded.lengths[rows].sum()), len(rows)) for rows in groups]
    limit = products(shape, sizes, cls_only=True)
    variants: dict[str, Variant] = {"ours": partial(_forward, module, encoded, groups), "limit": limit}
    timings, count = interleaved(variants, options.rounds or 3), float(len(encoded.ids))
    return timings.rate("ours", units=count), timings.rate("limit", units=count), timings.ratio("ours", "limit")


def _forward(module: Any, encoded: Encoded, groups: Iterable[Any]) -> None:
    import torch

    from nlphub.nn.encoder import to_tensors

    with torch.inference_mode():
        for rows in groups:
            module(to_tensors(pack(encoded, rows)))


def _same_length(length: int, count: int) -> Encoded:
    total = length * count
    return Encoded(
        ids=np.random.default_rng(0).integers(200, 6000, total),
        types=np.zeros(total, np.int64),
        offsets=np.zeros((total, 2), np.int64),
        starts=np.arange(0, total + 1, length, dtype=np.int64),
        truncated=np.zeros(count, np.bool_),
    )


def _answer(module: Any, given: Sequence[str]) -> float:
    return float(len(module.predict(given, top_k=1)))


def _threaded(count: int, module: Any, given: Sequence[str]) -> float:
    _set(count)
    return _answer(module, given)


def _set(count: int) -> None:
    import torch

    torch.set_num_threads(count)


def _counts(options: Options) -> list[int]:
    """Powers of ten up to the most rows."""
    most = 10 * LEAST_ROWS if options.quick else options.most_rows
    counts = [LEAST_ROWS]
    while counts[-1] * 10 <= most:
        counts.append(counts[-1] * 10)
    return counts


def _some(values: Sequence[int], options: Options) -> Sequence[int]:
    return values[::2] if options.quick else values


def _told(options: Options) -> str:
    return f"{options.configurations[0]}, {options.threads} threads, {options.rounds or 3} rounds"
