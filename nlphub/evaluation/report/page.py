"""A run as one self-contained HTML page: nothing is loaded from anywhere, and there is no date: equal runs give equal bytes."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from nlphub.errors import InputError, require
from nlphub.evaluation.curves import smooth
from nlphub.evaluation.metrics import ClassificationMetrics
from nlphub.evaluation.rejection import risk_coverage
from nlphub.evaluation.report.chart import Axis, Mark, line_chart
from nlphub.evaluation.report.confusion import confusion_svg
from nlphub.evaluation.report.headline import figures
from nlphub.evaluation.report.pairs import SURE, confused_pairs
from nlphub.evaluation.report.run_files import RunFiles, metrics_of, read_run
from nlphub.evaluation.report.shown import cut, finalized, percent
from nlphub.files import json_text, publish_text
from nlphub.labels import score_name

LANGUAGES = ("zh", "en")

_TEMPLATES = Path(__file__).with_name("templates")
_MATRIX = 30  # labels of the confusion matrix: more cannot be read, and would not fit into a mail
_HARDEST, _SUSPECTS = 20, 50  # sentences
_POINTS = 200  # of a curve, at most
_ORDER = "train dev test"  # of the splits
_NAMESPACE = ' xmlns="http://www.w3.org/2000/svg"'  # which HTML does not need


def write_report(folder: str | Path, out: str | Path | None = None, *, language: str = "zh") -> Path:
    """Make the report of a run from the files in its folder alone: neither torch nor the data are needed.

    Args:
        folder: of a run of :func:`nlphub.finetune`.
        out: the file to write; default: ``report/report.html`` in the run.
        language: what the page begins with, ``zh`` or ``en``; it holds both.

    Returns:
        The file that was written.

    Raises:
        MissingExtraError: Jinja2 is not installed.
        InputError: the folder is no run, or a file in it is not what a run writes; or there is no such language.
    """
    folder = Path(folder).expanduser()
    target = Path(out).expanduser() if out is not None else folder / "report" / "report.html"
    publish_text(target, render_report(read_run(folder), language=language))
    return target


def render_report(run: RunFiles, *, language: str = "zh") -> str:
    """The page. Raises as :func:`write_report`."""
    if language not in LANGUAGES:
        raise InputError(f"language={language!r} is none of {', '.join(LANGUAGES)}")
    jinja2 = require("jinja2", extra="train", purpose="The report (report.html)")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=finalized,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "cut": cut}
    style, script = ((_TEMPLATES / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    page = environment.get_template("page.html.j2").render(
        **_facts(run), language=language, style=style, script=script, style_digest=_digest(style), script_digest=_digest(script)
    )
    return str(page)


def _facts(run: RunFiles) -> dict[str, Any]:
    """What the template tells of; pictures are finished SVG."""
    metrics = run.scores.classification() if run.scores else None
    train = run.data.splits.get("train")
    trained = train.labels if train else {}
    hardest = sorted((row for row in run.judged if not row.right), key=lambda row: row.truth)[:_HARDEST]
    matrix, left_out = _matrix(metrics) if metrics else ("", 0)
    return {
        "run": run,
        "figures": figures(run),
        "rows": sorted(run.scores.per_label.items(), key=lambda item: (item[1].f1, item[0])) if run.scores else [],
        "trained": trained,
        "matrix": matrix,
        "left_out": left_out,
        "matrix_size": _MATRIX,
        "pairs": confused_pairs(run.judged, trained, run.data.words),
        "sure": SURE,
        "risk": _risk(run),
        "hardest": hardest,
        "suspects": run.suspects[:_SUSPECTS],
        "curves": _curves(run),
        "splits": sorted(run.data.splits.items(), key=lambda item: (_ORDER.find(item[0]), item[0])),
        "lock": json_text(run.lock),
    }


def _matrix(metrics: ClassificationMetrics) -> tuple[str, int]:
    """The confusion matrix, and how many labels are put together in its last row and column: those with the fewest errors."""
    n, confusion = len(metrics.labels), metrics.confusion
    if n > _MATRIX:
        errors = confusion.sum(axis=0) + confusion.sum(axis=1) - 2 * confusion.diagonal()
        kept = np.sort(np.argsort(-errors, kind="stable")[:_MATRIX])
        place = np.full(n, len(kept))
        place[kept] = np.arange(len(kept))
        whole = np.zeros((len(kept) + 1, len(kept) + 1), np.int64)
        np.add.at(whole, (place[:, None], place[None, :]), confusion)
        names = [*(metrics.labels[number] for number in kept.tolist()), f"其余 {n - len(kept)} 个 others"]
        metrics = metrics_of(whole.tolist(), names)
    svg = confusion_svg(metrics, scores=False).replace(_NAMESPACE, ' class="matrix" role="img"', 1)
    return svg, max(n - _MATRIX, 0)


def _risk(run: RunFiles) -> str:
    """The risk-coverage curve with the threshold that the run chose; nothing without judged texts."""
    if not run.judged:
        return ""
    confidence = np.array([row.confidence for row in run.judged])
    right, accepted = (np.array([getattr(row, name) for row in run.judged], np.bool_) for name in ("right", "accepted"))
    curve = risk_coverage(confidence, right)
    every = -(-len(curve.risk) // _POINTS)
    points = list(zip(curve.coverage[::-every][::-1].tolist(), curve.risk[::-every][::-1].tolist(), strict=True))
    coverage = Axis("接受的回答（覆盖率）", "accepted answers (coverage)", 0.0, 1.0, percent=True)
    risk = Axis("其中答错的（风险）", "wrong ones among them (risk)", 0.0, max(1.05 * float(curve.risk.max()), 0.05), percent=True)
    mark = Mark(float(accepted.mean()), float(1 - right[accepted].mean()), "阈值处", "at the threshold") if accepted.any() else None
    return line_chart(points, coverage, risk, zh="风险与覆盖率", en="risk over coverage", mark=mark)


def _curves(run: RunFiles) -> list[str]:
    """Training loss and dev score over epochs, as far as the log has them."""
    log = [fact for fact in run.log if {"epoch", "loss"} <= fact.keys() and fact["loss"] is not None]  # none where a training went back
    if not log:
        return []
    epochs = Axis("轮次", "epochs", 0.0, max(float(log[-1]["epoch"]), 0.1))
    x, y = smooth([fact["epoch"] for fact in log], [fact["loss"] for fact in log])
    loss = Axis("训练损失", "training loss (nats)", 0.0, 1.05 * max(max(y), 0.01))
    pictures = [line_chart(list(zip(x, y, strict=True)), epochs, loss, zh="训练损失", en="training loss")]
    name = score_name(run.recipe.train.metric, run.recipe.task)
    if judged := [(fact["epoch"], fact[name]) for fact in log if isinstance(fact.get(name), int | float)]:
        low, high = np.floor(10 * min(score for _, score in judged)) / 10, np.ceil(10 * max(score for _, score in judged)) / 10
        score = Axis(f"验证集 {name}", f"dev {name}", float(low), float(max(high, low + 0.1)), percent=True)
        pictures.append(line_chart(judged, epochs, score, zh=f"验证集 {name}", en=f"dev {name}"))
    return pictures


def _digest(text: str) -> str:
    """What a Content-Security-Policy allows a style or a script by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
