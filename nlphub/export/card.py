"""The card of an exported module: README.md with the front matter that model hubs read."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nlphub import __version__
from nlphub.export.table import markdown

_KINDS = {
    "joint": ("token-classification", "A reader of intents and their slots"),
    "multi-label": ("text-classification", "A text classifier with any number of labels for a text"),
    "regression": ("text-classification", "An estimator of numbers"),
    "seq-cls": ("text-classification", "A text classifier"),
    "text-matching": ("text-classification", "A comparison of two texts"),
    "token-cls": ("token-classification", "A finder of labelled spans"),
}


def card_text(card: Mapping[str, Any], *, task: str, labels: Sequence[str], facts: Mapping[str, Any]) -> str:
    """The text of README.md.

    Args:
        card: facts about the module; ``architecture``, ``base``, ``licence`` and ``metrics`` are shown when they are there.
        task: of the head.
        labels: of the module.
        facts: of ``nlphub.json``: ``parity``, and ``reduced`` where there are smaller graphs.
    """
    parity = facts["parity"]
    architecture = card.get("architecture", "module")
    title = _KINDS.get(task, (task, f"A module for {task}"))[1]
    metrics = [f"- {name}: {value}" for name, value in (card.get("metrics") or {}).items()]
    lines = [
        "---",
        *(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in sorted(_front(card, task).items())),
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
        *_text_graph(parity["text_graph"]),
        *_smaller(facts.get("reduced")),
    ]
    return "\n".join(lines)


def _front(card: Mapping[str, Any], task: str) -> dict[str, Any]:
    """The front matter; nothing in it is made up."""
    architecture, base = card.get("architecture", "module"), card.get("base") or {}
    kind, _ = _KINDS.get(task, (task, ""))
    front = {"language": "zh", "library_name": "nlphub", "pipeline_tag": kind, "tags": ["nlphub", "onnx", architecture]}
    if licence := card.get("licence") or base.get("licence"):
        front["license"] = str(licence).lower()
    if base.get("name"):
        front["base_model"] = base["name"]
    if card.get("metrics"):
        front["metrics"] = list(card["metrics"])
    return front


def _text_graph(measured: Mapping[str, Any] | str) -> Iterator[str]:
    """About the file for other languages."""
    if isinstance(measured, str):
        yield f"There is no text graph (onnx/model_text.onnx): {measured}."
    else:
        yield "Other languages need one file, `onnx/model_text.onnx`, and their own stock onnxruntime: strings in, answers out. On "
        yield f"{measured['texts']} strings its probabilities differ from the module's by at most {measured['probabilities']:.1e}; its"
        yield "inputs, labels, thresholds and digests stand in its metadata."
    yield ""


def _smaller(reduced: Mapping[str, Any] | None) -> Iterator[str]:
    """About the graphs of int8 and float16."""
    if reduced is not None:
        yield 'Smaller graphs, `hub.Predictor(folder, precision="int8")`:'
        yield ""
        yield from markdown(reduced)
        yield ""
