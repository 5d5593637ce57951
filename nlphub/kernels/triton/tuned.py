"""Tiles that were timed on a card, by the card's name: they take the place of the estimates of :mod:`nlphub.kernels.triton.plan` there.

A table is a file ``tuned/<card>.json`` beside this one; ``python benchmarks/gpu.py --part tune`` writes it on the card. There is none yet::

    {"device": "NVIDIA H200", "backward": {"2x32": {"64": {"queries": 16, "warps": 4, "heads": 1}}}}

by kernel, ``bytes of a number x padded width``, bucket of lengths. A tile that ran on the card fits there, so nothing else is asked.
"""

import functools
import json
import re
from pathlib import Path
from typing import Any

from nlphub.kernels.triton import plan

Table = dict[tuple[int, int], dict[int, plan.Tile]]

FOLDER = Path(__file__).parent / "tuned"


@functools.cache
def table(name: str, device: str) -> Table:
    """The tiles of a kernel on a card.

    Args:
        name: ``forward`` or ``backward``.
        device: the card as its maker calls it; of no card the estimates hold.

    Raises:
        ValueError: the card's file is none.
    """
    estimates = {"forward": plan.FORWARD, "backward": plan.BACKWARD}[name]
    path = FOLDER / f"{slug(device)}.json"
    if not path.is_file():
        return estimates
    return merged(estimates, json.loads(path.read_text("utf-8")).get(name, {}))


def merged(estimates: Table, timed: dict[str, Any]) -> Table:
    """Estimates, and what was timed in their place.

    Raises:
        ValueError: an entry is for something that the kernels do not do, or is no tile.
    """
    found = {key: dict(tiles) for key, tiles in estimates.items()}
    for shape, tiles in timed.items():
        size, _, width = shape.partition("x")
        for bucket, numbers in tiles.items():
            key, place = (int(size), int(width)), int(bucket)
            if key not in found or set(numbers) != {"queries", "warps", "heads"} or not all(_is_power(one) for one in numbers.values()):
                raise ValueError(f"{shape}, {bucket} tokens: {numbers} is no tile of the attention kernels")
            found[key][place] = plan.Tile(numbers["queries"], 0, numbers["warps"], 0, 0, heads=numbers["heads"])
    return found


def slug(device: str) -> str:
    """The name of a card as a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-") or "none"


def _is_power(number: Any) -> bool:
    return type(number) is int and 0 < number <= 128 and number & (number - 1) == 0
