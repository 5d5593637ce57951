"""Fine-tuning: our Trainer beside a plain loop tuned as far as it goes, the Hugging Face Trainer, and the matrix products alone.

All variants start from the same weights and learn the same texts with the same recipe (AdamW with decay groups, clip 1.0, dropout 0.1 on
hidden rows and attention, batches of 32, fp32); a row compares real tokens a second. Ours is `hub.Trainer` as users call it.
"""

import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

import nlphub as hub
from nlphub import kernels
from nlphub.data.batching import epoch_batches
from nlphub.kernels import Dropout, native
from nlphub.kernels.reference import row_keys
from nlphub.recipe import TrainSettings
from nlphub.training.memory import freed_memory_kept
from speeds.networks import classifier
from speeds.rows import Bar, Options, Row, missing
from speeds.texts import texts_of
from speeds.timing import Timings, in_turns, interleaved
from speeds.training_peers import PlainLoop, Texts, grouped, huggingface, model_of, products_of, tokenised
from speeds.turns import Play, Player, Turns, apart, players

BATCH, DROPOUT, SAME_STEPS, SAME = 32, 0.1, 20, 1e-4
OURS, LOOP, DYNAMIC, FIXED = "nlphub", "best-tuned loop", "HF Trainer, dynamic padding", "HF Trainer, padding to 128"
LIMIT, OWN_LIMIT = "matrix products alone, PyTorch's", "matrix products alone, our own"
BARS = {
    ("nano", "service"): {LOOP: 1.6, DYNAMIC: 4.0, FIXED: 11.0, LIMIT: 0.75},
    ("medium", "service"): {LOOP: 1.4},
    ("nano", "long"): {LOOP: 1.3},
}
STEPS = {LOOP: 4, DYNAMIC: 2, FIXED: 1, LIMIT: 6, OWN_LIMIT: 6, OURS: 6}  # of a turn; of long texts and larger networks one


def run(options: Options) -> list[Row]:
    """One comparison for each configuration and length set, and the cost of dropout."""
    torch.set_num_threads(options.threads)
    rows = []
    for name in options.configurations:
        for lengths in options.lengths:
            rows += compared(name, lengths, options)
    return [*rows, dropout_row(options)]


def compared(name: str, lengths: str, options: Options) -> list[Row]:
    """One configuration on one length set: same losses first, then all variants in turns."""
    title, bars = f"train {name}/{lengths}", BARS.get((name, lengths), {})
    texts = tokenised(_module(name, lengths, options.work), texts_of(lengths, 3200 if lengths != "long" else 640, options.data))
    if absent := [package for package in ("transformers", "accelerate") if find_spec(package) is None]:
        return [missing(title, f"pip install {' '.join(absent)}", [_bar(peer, least) for peer, least in bars.items()])]
    settings = TrainSettings(
        batch_size=BATCH, dropout=DROPOUT, learning_rate=5e-5, schedule="constant", warmup=0.0, epochs=1000, evaluate_every=10**9
    )
    told = f"batch {BATCH}, {options.threads} threads, mean {texts.lengths.mean():.1f} tokens, torch {torch.__version__}"
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        plays = _plays(name, lengths, texts, settings, options, Path(folder))
        started = stack.enter_context(players(plays, threads=options.threads))
        judged = texts.shorter_half() if options.quick else texts
        worst = apart(largest_difference, name, lengths, options.work, judged, settings, threads=options.threads)  # while they start
        timings = measured(name, lengths, started, options)
    which = f"{told}; texts shorter than the median" if options.quick else told
    found = [Row(f"{title}, losses of {SAME_STEPS} steps without dropout", worst, None, None, "largest difference", which, (_SAME,))]
    for peer in timings.turns:
        if peer != OURS:
            ours, theirs, ratio = timings.rate(OURS, "wall"), timings.rate(peer, "wall"), timings.ratio(OURS, peer, "wall")
            more = f"{told}; by processor time {timings.ratio(OURS, peer, 'cpu'):.2f}, {len(timings.turns[peer])} rounds"
            found.append(Row(f"{title}, {peer}", ours, theirs, ratio, "tokens/s", more, (_bar(peer, bars[peer]),) if peer in bars else ()))
    return found


def measured(name: str, lengths: str, started: Mapping[str, Player], options: Options) -> Timings:
    """All variants in turns."""
    steps = STEPS if name == "nano" and lengths != "long" else dict.fromkeys(STEPS, 1)
    variants = {peer: functools.partial(player.turn, steps[peer]) for peer, player in started.items()}
    return in_turns(variants, options.rounds or (3 if options.quick else 15))


def _plays(
    name: str, lengths: str, texts: Texts, settings: TrainSettings, options: Options, folder: Path
) -> dict[str, tuple[Play, Sequence[Any]]]:
    """The variants, each for a process of its own. The Trainer's stand where a bar asks for them or time does not matter."""
    bars, shared = BARS.get((name, lengths), {}), (name, lengths, options.work, texts, settings)
    plays: dict[str, tuple[Play, Sequence[Any]]] = {OURS: (_ours, shared), LOOP: (_loop, shared), LIMIT: (_products, (*shared, False))}
    if native.available():
        plays[OWN_LIMIT] = (_products, (*shared, True))
    for peer, width in ((DYNAMIC, 0), (FIXED, 128)):
        if peer in bars or not (options.quick or texts.lengths.max() > (width or 512)):
            plays[peer] = (_huggingface, (*shared, width, folder / str(width)))
    return plays


def _ours(turns: Turns, name: str, lengths: str, work: Path, texts: Texts, settings: TrainSettings) -> None:
    facts = hub.Trainer(_module(name, lengths, work), settings=settings, progress=False).steps(texts.rows)
    for steps in turns:
        turns.done(sum(next(facts).tokens for _ in range(steps)))
    facts.close()  # type: ignore[attr-defined]


def _loop(turns: Turns, name: str, lengths: str, work: Path, texts: Texts, settings: TrainSettings) -> None:
    loop = PlainLoop(model_of(_module(name, lengths, work), dropout=DROPOUT), texts, settings, grouped(texts, BATCH))
    for steps in turns:
        turns.done(loop.run(steps))


def _products(turns: Turns, name: str, lengths: str, work: Path, texts: Texts, settings: TrainSettings, own: bool) -> None:
    products = products_of(name, texts, epoch_after_epoch(texts, BATCH), size=BATCH, own=own)
    with freed_memory_kept(torch.device("cpu")):  # as in a training
        for steps in turns:
            turns.done(products.run(steps))


def _huggingface(
    turns: Turns, name: str, lengths: str, work: Path, texts: Texts, settings: TrainSettings, width: int, folder: Path
) -> None:
    huggingface(turns, model_of(_module(name, lengths, work), dropout=DROPOUT), texts, settings, width=width, folder=folder)


def largest_difference(name: str, lengths: str, work: Path, texts: Texts, settings: TrainSettings) -> float:
    """Of our losses and the plain loop's over the same batches, from the same weights, without dropout."""
    module, settings = _module(name, lengths, work), settings.model_copy(update={"dropout": 0.0})
    loop = PlainLoop(model_of(module, dropout=0.0), texts, settings, epoch_after_epoch(texts, BATCH, seed=settings.seed))
    facts = hub.Trainer(module, settings=settings, progress=False).steps(texts.rows)
    ours = [next(facts).loss for _ in range(SAME_STEPS)]
    loop.run(SAME_STEPS)
    return max(abs(one - other) for one, other in zip(ours, loop.losses, strict=True))


def epoch_after_epoch(texts: Texts, size: int, *, seed: int = 0) -> Iterator[Sequence[int]]:
    """The batches of our Trainer, for ever."""
    epoch = 0
    while True:
        yield from (batch.tolist() for batch in epoch_batches(texts.lengths, batch_size=size, seed=seed, epoch=epoch))
        epoch += 1


def dropout_row(options: Options) -> Row:
    """Dropout of a hidden row: our hash beside torch's generator, forward and backward."""
    torch.set_num_threads(options.threads)
    x = torch.randn(640, 312, requires_grad=True)
    keys = row_keys(1, 0, 0, torch.arange(640), torch.arange(640))
    values = 20 * 2 * x.numel() / 1e9  # so that a unit is a nanosecond of one value and direction

    def twenty(drop: Callable[[Any], Any]) -> float:
        for _ in range(20):
            drop(x).backward(x)
        return values

    timings = interleaved(
        {
            OURS: lambda: twenty(lambda x: kernels.dropout(x, Dropout(DROPOUT, keys))),
            "torch": lambda: twenty(lambda x: F.dropout(x, DROPOUT)),
        },
        options.rounds or (3 if options.quick else 7),
    )
    ours, theirs = (timings.seconds(name, "cpu") for name in (OURS, "torch"))
    return Row("train, dropout of (640, 312)", ours, theirs, timings.ratio(OURS, "torch"), "ns a value", f"{options.threads} threads")


def _module(name: str, lengths: str, work: Path) -> hub.Module:
    """A classifier of the configuration that cuts texts."""
    module: hub.Module = classifier(name, work, spread=1.0)
    module.max_length = 512 if lengths == "long" else 128
    return module


_SAME = Bar(f"losses equal over {SAME_STEPS} steps", SAME, kind="most", of="ours")


def _bar(peer: str, least: float) -> Bar:
    return Bar(f"at least {least:g} times {peer}" if peer != LIMIT else f"at least {least:g} of the products alone", least)
