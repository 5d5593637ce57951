"""Training curves as a picture."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from nlphub.errors import require

_PANELS = {"accuracy": "masked accuracy", "loss": "loss (nats)", "pairs": "pairs told right"}
_POINTS = 200  # of a curve: longer trainings are averaged down to these


def training_curves(facts: Sequence[Mapping[str, Any]]) -> str:
    """SVG with masked accuracy, loss and, where there were pairs, what was told right of them, over tokens read.

    Equal facts give equal bytes.

    Args:
        facts: lines of a pretraining's ``metrics.jsonl``; ``held_out`` is drawn where there is one.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    require("matplotlib", extra="train", purpose="drawing training curves")
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "nlphub", "svg.fonttype": "none", "font.family": "sans-serif"}):
        panels = {name: title for name, title in _PANELS.items() if any(name in fact for fact in facts)}
        figure = Figure(figsize=(4 * len(panels), 3.2), layout="constrained")
        for axes, (name, title) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
            drawn = [fact for fact in facts if name in fact]
            x, y = smooth([fact["tokens"] / 1e6 for fact in drawn], [fact[name] for fact in drawn])
            axes.plot(x, y, color="#9ab", label="training batches")
            key = "mean_loss" if name == "loss" else name
            judged = [(fact["tokens"] / 1e6, fact["held_out"][key]) for fact in facts if key in (fact.get("held_out") or {})]
            if judged:
                axes.plot(*zip(*judged, strict=True), "o-", color="#c33", label="held-out text")
            axes.set(title=title, xlabel="million tokens")
            axes.grid(alpha=0.3)
            axes.legend()
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def smooth(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    """Means of neighbouring points of a curve, so that there are at most 200."""
    size = -(-len(x) // _POINTS) or 1
    starts = range(0, len(x), size)
    return [sum(x[i : i + size]) / len(x[i : i + size]) for i in starts], [sum(y[i : i + size]) / len(y[i : i + size]) for i in starts]
