"""Whole training steps, ours and Hugging Face's on the same tokens and weights, and what each of our parts brings."""

from collections.abc import Callable, Iterator
from typing import Any

from gpu_parts import clock
from gpu_parts.facts import Bar, Found, Row, Setting, clean, fault, short
from gpu_parts.work import HuggingFace, Load, Ours, only, utilisation

_LARGE = 16384  # tokens of a large batch, in the mean
_SMALL = 32  # sequences
_NORM = ("add_norm", "dropout", "row_keys")
_LADDER = (
    ("padded to 128", {"padded": True, "all_rows": True}, ()),
    ("+ packing", {"all_rows": True}, ()),
    ("+ attention", {"all_rows": True}, ("attention",)),
    ("+ add and norm", {"all_rows": True}, ("attention", *_NORM)),
    ("+ GELU", {"all_rows": True}, ("attention", *_NORM, "bias_gelu")),
    ("+ graphs", {"all_rows": True, "graphs": True}, ("attention", *_NORM, "bias_gelu")),
    ("+ last layer for [CLS] only", {"graphs": True}, ("attention", *_NORM, "bias_gelu")),
)


def step(setting: Setting) -> Found:
    """Tokens and sequences a second of full steps: copies to the device, forward, backward, clipping, AdamW."""
    found, speed = Found(), dict[tuple[str, str, str], float]()
    shares = dict[str, float]()
    jobs = [(load, name, make) for load in _loads(setting) for name, make in _variants(load, setting)]
    for load, name, make in sorted(jobs, key=lambda job: "compiled" in job[1]):  # what compiles for a minute comes last
        if setting.late():
            found.rows.append(Row("step", f"{load}: {name}", {}, "left out: the time was over"))
            continue
        row, rate, share = _timed(load, name, make, setting)
        found.rows.append(row)
        if rate is not None:
            speed[load.network, _size(load), name] = rate
        if share is not None and name.startswith("ours") and load.lengths == "mean 20" and load.sequences > _SMALL:
            shares[load.network] = max(share, shares.get(load.network, 0.0))
    found.bars.extend(_bars(speed, shares) if setting.device.type == "cuda" else _bars({}, {}))
    return found


def ablation(setting: Setting) -> Found:
    """What each part brings, one added to the other; large batches, mean length 20."""
    found = Found()
    for network in ("4x312",) if setting.dry else ("4x312", "6x768"):
        load, before = Load(network, "mean 20", 4 if setting.dry else _LARGE // 20), None
        for name, options, operations in _LADDER:
            if setting.late():
                found.rows.append(Row("ablation", f"{load}: {name}", {}, "left out: the time was over"))
                continue
            with only(operations, setting.device):
                row, rate, _ = _timed(
                    load, name, lambda options=options, load=load: Ours(load, setting, **options), setting, part="ablation"
                )
            if rate is not None and before is not None:
                row.figures["times the one before"] = short(rate / before)
            before = rate or before
            found.rows.append(row)
    return found


def _loads(setting: Setting) -> Iterator[Load]:
    if setting.dry:
        yield Load("4x312", "mean 20", 4)
        return
    for network in ("4x312", "6x768"):
        yield Load(network, "mean 20", _LARGE // 20)
        yield Load(network, "mean 20", _SMALL)
    yield Load("12x768", "mean 20", _LARGE // 20)
    for lengths, mean in (("mean 64", 64), ("mean 128", 128), ("all 512", 512)):
        yield Load("6x768", lengths, _LARGE // mean)


def _variants(load: Load, setting: Setting) -> Iterator[tuple[str, Callable[[], Any]]]:
    yield "ours, captured", lambda: Ours(load, setting, graphs=True)
    yield "ours", lambda: Ours(load, setting)
    judged = load.lengths == "mean 20" and load.network != "12x768"
    for padding in ("128", "dynamic", "sorted") if judged else ("sorted",):
        yield f"Hugging Face, {padding}", lambda padding=padding: HuggingFace(load, setting, padding=padding).step
    if not judged:
        return
    yield "Hugging Face, sorted, FlashAttention", lambda: HuggingFace(load, setting, padding="sorted", attention="flash_attention_2").step
    if not setting.dry:  # compiling takes a minute
        padding = "128" if load.sequences == _SMALL else "sorted"
        yield f"Hugging Face, {padding}, compiled", lambda: HuggingFace(load, setting, padding=padding, compiled=True).step


def _timed(
    load: Load, name: str, make: Callable[[], Any], setting: Setting, *, part: str = "step"
) -> tuple[Row, float | None, float | None]:
    """The row, sequences a second, and the share of the peak that was computed. What does not run says why."""
    clean(setting)
    try:
        timing = clock.steps(make(), setting)
    except Exception as error:  # of memory, of a package that is not there, of a route: a finding, not the end of all rows
        return Row(part, f"{load}: {name}", {}, fault(error)), None, None
    tokens, sequences, squares = (units / timing.steps for units in timing.units)
    done, whole = utilisation(load, setting, tokens=tokens, sequences=sequences, squares=squares, seconds=timing.wall / 1000)
    figures = {
        **timing.figures(), "tokens/s": round(timing.rate(0)), "sequences/s": round(timing.rate(1)),
        "MFU %": short(100 * done), "MFU of all rows %": short(100 * whole), "floor ms": short(timing.wall * done),
    }  # fmt: skip
    return Row(part, f"{load}: {name}", figures), timing.rate(1), done


def _bars(speed: dict[tuple[str, str, str], float], shares: dict[str, float]) -> list[Bar]:
    bars = []
    for network, small in (("4x312", 10.0), ("6x768", 5.0)):
        for size, against, least in (
            ("large", ("128",), 8.0), ("large", ("dynamic", "sorted"), 3.0), ("small", ("128",), small)
        ):  # fmt: skip
            own = max((rate for key, rate in speed.items() if key[:2] == (network, size) and key[2].startswith("ours")), default=None)
            peers = {
                name: rate for (net, extent, name), rate in speed.items()
                if (net, extent) == (network, size) and name.startswith("Hugging Face") and any(f", {word}" in name for word in against)
            }  # fmt: skip
            strongest = max(peers, key=lambda name: peers[name], default=None)
            extent = "16k tokens" if size == "large" else f"{_SMALL} sequences"
            words = f"{network}, mean 20, {extent}: times {strongest or f'Hugging Face, {against[0]}'}"
            bars.append(Bar(words, own / peers[strongest] if own and strongest else None, least))
    for network, least in (("4x312", 25.0), ("6x768", 50.0), ("12x768", 50.0)):
        share = shares.get(network)
        bars.append(Bar(f"{network}: MFU in per cent at 16k tokens", None if share is None else 100 * share, least))
    return bars


def _size(load: Load) -> str:
    if load.lengths != "mean 20":
        return load.lengths
    return "small" if load.sequences == _SMALL else "large"
