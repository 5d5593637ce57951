"""Which tile of the attention kernels is the fastest on this card, for each bucket of lengths: neighbours of those that the plan estimates.

What wins by 2 % or more goes into a table that bears the card's name; `nlphub.kernels.triton.tuned` reads such tables.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from gpu_parts import clock
from gpu_parts.facts import Found, Row, Setting, fault, short
from gpu_parts.rows import PROBABILITY, attention_rows
from nlphub.kernels.layout import BUCKETS
from nlphub.kernels.triton import plan, tuned

_GAIN = 0.98  # of the estimate's time: less is noise
_TOKENS = 16384
_WIDTHS = ((12, 26), (12, 64), (6, 128))


def tune(setting: Setting, table: dict[str, Any]) -> Found:
    """Time tiles; ``table`` is filled with those that win, as :mod:`nlphub.kernels.triton.tuned` reads it."""
    found = Found()
    for heads, width in _WIDTHS[:1] if setting.dry else _WIDTHS:
        for bucket in BUCKETS[:2] if setting.dry else BUCKETS:
            for name in ("forward", "backward"):
                if setting.late():
                    found.rows.append(Row("tune", f"{name}, {heads} x {width}, {bucket} tokens", {}, "left out: the time was over"))
                    continue
                found.rows.append(_tuned(name, heads, width, bucket, setting, table))
    return found


def candidates(estimate: plan.Tile, bucket: int) -> list[plan.Tile]:
    """The estimate first, then its neighbours: other blocks of queries, warps, heads of a program."""
    found = [estimate]
    for queries in (16, 32, 64):
        for warps in (estimate.warps // 2, estimate.warps, estimate.warps * 2):
            for heads in (1, 2, 4) if bucket <= 32 else (1,):
                tile = replace(estimate, queries=queries, warps=warps, heads=heads, registers=0, shared=0, spills=0)
                if queries <= bucket and 1 <= warps <= 16 and (queries, warps, heads) != (estimate.queries, estimate.warps, estimate.heads):
                    found.append(tile)
    return found


def _tuned(name: str, heads: int, width: int, bucket: int, setting: Setting, table: dict[str, Any]) -> Row:
    key = 2, max(32, plan.padded(width))
    title = f"{name}, {heads} x {width}, {bucket} tokens"
    estimate = (plan.FORWARD if name == "forward" else plan.BACKWARD)[key].get(bucket)
    if estimate is None:
        return Row("tune", title, {}, "keys come in blocks here")
    times: dict[plan.Tile, float] = {}
    note = ""
    for tile in candidates(estimate, bucket)[: 2 if setting.dry else None]:
        try:
            times[tile] = _milliseconds(name, key, bucket, tile, heads, width, setting)
        except Exception as error:  # a tile that does not fit on this card
            note = note or f"queries {tile.queries}, warps {tile.warps}, heads {tile.heads}: {fault(error)}"
    if estimate not in times:
        return Row("tune", title, {}, note)
    best = min(times, key=lambda tile: times[tile])
    if times[best] < _GAIN * times[estimate]:
        table.setdefault(name, {}).setdefault(f"{key[0]}x{key[1]}", {})[str(bucket)] = {
            "queries": best.queries, "warps": best.warps, "heads": best.heads
        }  # fmt: skip
    figures = {
        "estimate ms": short(times[estimate]), "best ms": short(times[best]), "tiles": len(times),
        "best": f"{best.queries} queries, {best.warps} warps, {best.heads} heads",
    }  # fmt: skip
    return Row("tune", title, figures, note)


def _milliseconds(name: str, key: tuple[int, int], bucket: int, tile: plan.Tile, heads: int, width: int, setting: Setting) -> float:
    """Of one pass over sequences of this bucket; the result has to be that of the estimate's tile."""
    smallest, tokens = bucket // 2 + 1, 4 * bucket if setting.dry else _TOKENS
    lengths = np.sort(np.random.default_rng(0).integers(smallest, bucket + 1, max(2, tokens // bucket))).tolist()
    rows = attention_rows(lengths, setting, heads=heads, width=width, dropout=True)
    if setting.device.type != "cuda":
        return clock.kernel(lambda: rows.run(_on_cpu()), setting)
    run = _pass(name, rows)
    expected = run()
    with _using(name, key, bucket, tile):
        given = run()
        for one, other in zip(given, expected, strict=True):
            if not torch.allclose(one.float(), other.float(), atol=0.05, rtol=0.05):
                raise RuntimeError("its result is another")
        return clock.kernel(run, setting)


def _pass(name: str, rows: Any) -> Any:
    from nlphub.kernels.triton import attention

    layout, heads, dropped = (rows.options[word] for word in ("layout", "heads", "dropped"))
    q, k, v = rows.parts[0].detach().chunk(3, 1)
    places = layout.places(q.device)
    where = (places.starts, places.lengths, places.order)
    options = {"counts": places.counts, "heads": heads, "probability": PROBABILITY, "row_keys": dropped.keys}
    _, lse = attention.forward(q, k, v, *where, **options)
    if name == "forward":
        return lambda: attention.forward(q, k, v, *where, **options)
    return lambda: attention.backward(rows.grad, q, k, v, lse, *where, **options)


def _on_cpu() -> Any:
    from nlphub.kernels import cpu

    return cpu.attention


@contextmanager
def _using(name: str, key: tuple[int, int], bucket: int, tile: plan.Tile) -> Iterator[None]:
    """Within the block the kernels take this tile."""
    tables = tuned.table

    def changed(wanted: str, device: str) -> tuned.Table:
        found = tables(wanted, device)
        return {**found, key: {**found[key], bucket: tile}} if wanted == name else found

    tuned.table = changed
    try:
        yield
    finally:
        tuned.table = tables
