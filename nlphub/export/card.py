"""The card of an exported module: README.md with the front matter that model hubs read."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from nlphub import __version__

_KINDS = {"seq-cls": ("text-classification", "A text classifier"), "token-cls": ("token-classification", "A finder of labelled spans")}


def card_text(card: Mapping[str, Any], *, task: str, labels: Sequence[str], parity: Mapping[str, Any]) -> str:
    """The text of README.md.

    Args:
        card: facts about the module; ``architecture``, ``licence`` and ``metrics`` are shown when they are there.
        task: of the head.
        labels: of the module.
        parity: as in ``nlphub.json``.
    """
    architecture = card.get("architecture", "module")
    kind, title = _KINDS[task]
    front = {"language": "zh", "library_name": "nlphub", "pipeline_tag": kind, "tags": ["nlphub", "onnx", architecture]}
    if card.get("licence"):
        front["license"] = str(card["licence"]).lower()
    metrics = [f"- {name}: {value}" for name, value in (card.get("metrics") or {}).items()]
    lines = [
        "---",
        *(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in sorted(front.items())),
        "---",
        "",
        f"# {title} made from {architecture}",
        "",
        f"Exported by nlphub {__version__}. It runs with numpy and onnxruntime, without torch:",
        "",
        "```python",
        "import nlphub as hub",
        "",
        'predictor = hub.Predictor("path/to/this/folder")',
        'predictor(["..."])',
        "```",
        "",
        f"{len(labels)} labels: {'、'.join(labels)}",
        "",
        *(["Scores on the development set:", "", *metrics, ""] if metrics else []),
        f"On {parity['texts']} random texts the graph's probabilities differ from the module's by at most {parity['probabilities']:.1e} "
        f"(torch {parity['torch']}, onnxruntime {parity['onnxruntime']}).",
        "",
    ]
    return "\n".join(lines)
