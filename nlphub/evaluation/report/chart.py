"""A line as a picture: SVG with real text in both languages, restyled by the page (light, dark, one language at a time).

Written directly, for the reasons that the confusion matrix has (:mod:`nlphub.evaluation.report.confusion`): equal numbers give equal bytes,
no font of this machine is measured, no ids clash where several pictures stand on one page, and colours come from the page.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 420, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 24, 26, 44  # room around the lines


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis.

    Attributes:
        zh, en: its title.
        low, high: where it begins and ends; ``high`` is above ``low``.
        percent: whether its numbers are shares.
    """

    zh: str
    en: str
    low: float
    high: float
    percent: bool = False

    def ticks(self) -> list[float]:
        """Three to six round numbers between both ends."""
        rough = (self.high - self.low) / 4
        size = 10 ** math.floor(math.log10(rough))
        step = size * next(factor for factor in (1, 2, 2.5, 5, 10) if rough <= factor * size * (1 + 1e-9))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]

    def name(self, value: float) -> str:
        """How a number is written."""
        return f"{100 * value:.4g}%" if self.percent else f"{value:.4g}"

    def place(self, value: float, *, start: float, end: float) -> float:
        """Where a number stands between two coordinates."""
        return start + (value - self.low) / (self.high - self.low) * (end - start)


@dataclass(frozen=True, slots=True)
class Mark:
    """A point that is pointed out, with its name."""

    x: float
    y: float
    zh: str
    en: str


def line_chart(points: Sequence[tuple[float, float]], x: Axis, y: Axis, *, zh: str, en: str, mark: Mark | None = None) -> str:
    """Draw points joined by a line.

    Args:
        zh, en: what the picture shows, for who cannot see it.
    """
    places = [_place(point, x, y) for point in points]
    path = "".join(f"{'L' if number else 'M'}{a:.1f} {b:.1f}" for number, (a, b) in enumerate(places))
    dots = [f'<circle class="dot" cx="{a:.1f}" cy="{b:.1f}" r="3"/>' for a, b in places] if len(places) <= 30 else []
    lines = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(f"{zh} {en}")}">',
        *_grid(x, y),
        f'<path class="line" d="{path}"/>',
        *dots,
        *(_marked(mark, x, y) if mark else ()),
        "</svg>",
    ]
    return "\n".join(lines)


def _place(point: tuple[float, float], x: Axis, y: Axis) -> tuple[float, float]:
    return x.place(point[0], start=_LEFT, end=WIDTH - _RIGHT), y.place(point[1], start=HEIGHT - _BOTTOM, end=_TOP)


def _grid(x: Axis, y: Axis) -> Iterator[str]:
    floor = HEIGHT - _BOTTOM
    for value in y.ticks():
        _, place = _place((x.low, value), x, y)
        yield f'<path class="grid" d="M{_LEFT} {place:.1f}H{WIDTH - _RIGHT}"/>'
        yield f'<text x="{_LEFT - 6}" y="{place + 4:.1f}" text-anchor="end">{y.name(value)}</text>'
    for value in x.ticks():
        place, _ = _place((value, y.low), x, y)
        yield f'<path class="grid" d="M{place:.1f} {floor}v5"/>'
        yield f'<text x="{place:.1f}" y="{floor + 18}" text-anchor="middle">{x.name(value)}</text>'
    yield from _both(x.zh, x.en, f'x="{(_LEFT + WIDTH - _RIGHT) / 2:g}" y="{HEIGHT - 6}" text-anchor="middle"')
    yield from _both(y.zh, y.en, 'x="4" y="14"')


def _marked(mark: Mark, x: Axis, y: Axis) -> Iterator[str]:
    a, b = _place((mark.x, mark.y), x, y)
    left = a > 0.4 * WIDTH  # above a rising line, where there is room
    yield f'<circle class="mark" cx="{a:.1f}" cy="{b:.1f}" r="5"/>'
    yield from _both(
        mark.zh,
        mark.en,
        f'class="mark" x="{a - 9 if left else a + 9:.1f}" y="{max(b - 9, 12):.1f}" text-anchor="{"end" if left else "start"}"',
    )


def _both(zh: str, en: str, attributes: str) -> Iterator[str]:
    for language, text in (("zh", zh), ("en", en)):
        named = attributes.replace('class="', f'class="{language} ') if 'class="' in attributes else f'class="{language}" {attributes}'
        yield f"<text {named}>{escape(text)}</text>"
