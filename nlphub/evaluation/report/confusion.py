"""The confusion matrix as a picture: one self-contained SVG with real text, so that it can be searched, copied and restyled.

It is rectangles and text, written directly: nothing has to be measured with a font of this machine (so nothing warns about missing
Chinese glyphs, and the same numbers always give the same bytes), and whoever opens the picture uses a Chinese font of their own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from nlphub.aligned import cells
from nlphub.evaluation.metrics import ClassificationMetrics
from nlphub.evaluation.report.shown import visible

FONTS = "'Noto Sans CJK SC', 'Source Han Sans SC', 'Microsoft YaHei', 'PingFang SC', SimHei, sans-serif"

_RIGHT, _WRONG = "#08519c", "#cb430c"  # blue on the diagonal, orange beside it; both also differ in lightness
_LEGEND = "颜色：占该行的比例 colour: share of the row（蓝 对 right，橙 错 wrong）"
_LONGEST = 28  # cells of a label (14 Chinese characters) before it is cut with an ellipsis; tooltips keep it whole


@dataclass(frozen=True, slots=True)
class _Layout:
    """Sizes in pixels: ``cell`` of the matrix, ``font`` of labels, ``left`` and ``top`` of the matrix, ``side`` of it, all around it."""

    cell: float
    font: float
    left: float
    top: float
    side: float
    width: float
    height: float
    angle: int


def confusion_svg(metrics: ClassificationMetrics, *, title: str = "", scores: bool = True) -> str:
    """Draw a confusion matrix: rows are true labels, columns predicted ones, colours are shares of the row.

    Counts stand in the cells where there is room for them, and always in the tooltips.

    Args:
        title: a line above the picture, such as the name of the run.
        scores: whether accuracy and macro-F1 stand above it too.
    """
    layout = _layout(metrics.labels)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{layout.width:g}" height="{layout.height:g}" '
        f'viewBox="0 0 {layout.width:g} {layout.height:g}" font-family="{FONTS}" font-size="{layout.font:g}" fill="#222">',
        f"<title>{_text(title or '混淆矩阵 Confusion matrix')}</title>",
        f'<rect width="{layout.width:g}" height="{layout.height:g}" fill="#fff"/>',
        *_captions(metrics, title, layout, scores=scores),
        *_axis(metrics.labels, layout),
        *_cells(metrics, layout),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _layout(labels: tuple[str, ...]) -> _Layout:
    n = len(labels)
    cell = float(np.clip(round(760 / n), 12, 48))
    font = min(14.0, 0.85 * cell)
    longest = max(cells(_shorten(label)) for label in labels) * font * 0.52 + 12  # a cell is half an em; a little air
    angle = 45 if cell >= 20 else 90  # slanted labels need the room of a line between columns
    slant = 0.75 if angle == 45 else 1.0
    left, top, side = max(longest + 16, 156), longest * slant + 84, n * cell  # 156: the caption of the rows
    width = max(left + side + (longest * slant if angle == 45 else 0) + 24, 460)
    return _Layout(cell, font, left, top, side, round(width), round(top + side + 44), angle)


def _captions(metrics: ClassificationMetrics, title: str, layout: _Layout, *, scores: bool) -> Iterator[str]:
    line = f"准确率 accuracy {metrics.accuracy:.4f} · 宏平均 macro-F1 {metrics.macro_f1:.4f} · {metrics.support} 条 examples"
    yield f'<text x="16" y="26" font-size="16">{_text(title or "混淆矩阵 Confusion matrix")}</text>'
    if scores:
        yield f'<text x="16" y="46" font-size="12">{line}</text>'
    yield f'<text x="{layout.left:g}" y="64" font-size="12" fill="#555">预测标签 predicted label →</text>'
    yield f'<text x="{layout.left - 6:g}" y="{layout.top - 8:g}" font-size="12" fill="#555" text-anchor="end">真实标签 true label ↓</text>'
    below = layout.top + layout.side + 26
    yield f'<text x="16" y="{below:g}" font-size="12" fill="#555">{_LEGEND}</text>'


def _axis(labels: tuple[str, ...], layout: _Layout) -> Iterator[str]:
    for index, label in enumerate(labels):
        middle = (index + 0.5) * layout.cell
        y = layout.top + middle + 0.36 * layout.font  # puts the middle of a Chinese character on the middle of the row
        yield f'<text x="{layout.left - 6:g}" y="{y:g}" text-anchor="end">{_label(label)}</text>'
        x, foot = layout.left + middle + (0.36 * layout.font if layout.angle == 90 else 0), layout.top - 6
        yield f'<text x="{x:g}" y="{foot:g}" transform="rotate(-{layout.angle} {x:g} {foot:g})">{_label(label)}</text>'


def _cells(metrics: ClassificationMetrics, layout: _Layout) -> Iterator[str]:
    """The grid, and a coloured square for each count above zero."""
    left, top, side, cell = layout.left, layout.top, layout.side, layout.cell
    lines = "".join(f"M{left:g} {top + i * cell:g}h{side:g}M{left + i * cell:g} {top:g}v{side:g}" for i in range(len(metrics.labels) + 1))
    yield f'<path d="{lines}" stroke="#ddd" stroke-width="0.5" fill="none"/>'
    shares = _shares(metrics.confusion)
    for row, column in np.argwhere(metrics.confusion).tolist():
        count, share = int(metrics.confusion[row, column]), float(shares[row, column])
        x, y = left + column * cell, top + row * cell
        tip = f"{metrics.labels[row]} → {metrics.labels[column]}: {count} ({share:.1%})"
        fill = f'fill="{_RIGHT if row == column else _WRONG}" fill-opacity="{0.12 + 0.88 * share:.3g}"'  # one among many still shows
        yield f'<rect x="{x:g}" y="{y:g}" width="{cell:g}" height="{cell:g}" {fill}><title>{_text(tip)}</title></rect>'
        size = min(14.0, 0.5 * cell, (cell - 3) / (0.6 * len(str(count))))  # a digit is 0.6 em wide
        if size >= 7:
            yield (
                f'<text x="{x + cell / 2:g}" y="{y + cell / 2 + 0.36 * size:g}" font-size="{size:.3g}" text-anchor="middle" '
                f'pointer-events="none" fill="{"#fff" if share > 0.5 else "#222"}">{count}</text>'
            )


def _shares(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """``(n, n)`` shares of each row; rows without examples are zero."""
    shares: NDArray[np.float64] = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    return shares


def _label(label: str) -> str:
    short = _shorten(label)
    return _text(short) if short == label else f"{_text(short)}<title>{_text(label)}</title>"


def _shorten(label: str) -> str:
    if cells(label) <= _LONGEST:
        return label
    short = label
    while cells(short) > _LONGEST - 1:
        short = short[:-1]
    return short + "…"


def _text(text: str) -> str:
    """Escaped for XML, whose 1.0 has no control characters and no lone surrogates."""
    return escape(visible(text))
