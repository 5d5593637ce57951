"""The table of an artefact's graphs: what each weighs, answers and takes. For the command line, the card and the benchmark."""

from collections.abc import Iterator, Mapping
from typing import Any

HEADER = ("graph", "method", "MB", "score", "agreement", "ms (one text)", "texts/s")


def rows(reduced: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Rows of cells, with :data:`HEADER`.

    Args:
        reduced: as in ``nlphub.json``.
    """
    return [_row(name, one) for name, one in reduced["graphs"].items()]


def notes(reduced: Mapping[str, Any]) -> Iterator[str]:
    """What the table does not say, a sentence each."""
    yield f"score: {reduced['score']} on {reduced['examples']} development examples; it may fall by {reduced['bound']:g} points"
    yield "agreement: answers that say the same as those of fp32; times are of this machine, from strings to answers"
    int8 = reduced["graphs"].get("int8", {})
    if int8.get("kept"):
        yield f"left in float32, because int8 lost too much with them: {', '.join(int8['kept'])}"
    if file := int8.get("text_file"):
        yield f"one file, strings in, answers out, int8: {file['file']}, {file['bytes'] / 1e6:.1f} MB"


def markdown(reduced: Mapping[str, Any]) -> Iterator[str]:
    """Lines for a card."""
    yield from (f"| {' | '.join(cells)} |" for cells in (HEADER, ["---"] * len(HEADER), *rows(reduced)))
    yield ""
    yield from (f"- {note}" for note in notes(reduced))


def _row(name: str, one: Mapping[str, Any]) -> tuple[str, ...]:
    speed = one["speed"]
    share = f"{one['agreement']:.2%}" if "agreement" in one else ""
    size, score = f"{one['bytes'] / 1e6:.1f}", f"{one['score']:.4f}"
    return (name, one.get("method", ""), size, score, share, f"{speed['latency_ms']:.1f}", f"{speed['texts_per_second']:.0f}")
