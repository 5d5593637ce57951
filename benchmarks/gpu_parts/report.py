"""What the GPU benchmark leaves behind: one JSON file and one Markdown file for each card. Parts that are run again replace themselves."""

import json
from pathlib import Path
from typing import Any

from gpu_parts.facts import Found
from nlphub.files import publish_json, publish_text

ORDER = ("correctness", "determinism", "attention", "seams", "step", "ablation", "inference", "tnews", "tune")


def keep(path: Path, machine: dict[str, Any], found: dict[str, Found]) -> dict[str, Any]:
    """Write ``<path>.json`` and ``<path>.md``, with the parts of earlier runs that were not run now; what they hold."""
    json_file = path.with_name(path.name + ".json")
    before: dict[str, Any] = json.loads(json_file.read_text("utf-8")) if json_file.is_file() else {"parts": {}}
    parts = before["parts"] | {name: {"machine": machine, **one.as_dict()} for name, one in found.items()}
    report = {"device": machine["device"], "parts": {name: parts[name] for name in ORDER if name in parts}}
    path.parent.mkdir(parents=True, exist_ok=True)
    publish_json(json_file, report)
    publish_text(path.with_name(path.name + ".md"), markdown(report))
    return report


def markdown(report: dict[str, Any]) -> str:
    """Tables for people: what was promised first, then every part with the versions and clocks that it ran on."""
    lines = [f"# {report['device']}", "", "| | promised | measured | |", "|---|---|---|---|"]
    for part in report["parts"].values():
        for bar in part["bars"]:
            value = "not measured" if bar["value"] is None else f"{bar['value']:.3g}"
            lines.append(
                f"| {bar['verdict']} | {bar['text']} | {value} | {'at least' if bar['kind'] == 'least' else 'at most'} {bar['limit']:g} |"
            )
    for name, part in report["parts"].items():
        lines += ["", f"## {name}", "", f"`{json.dumps(part['machine'], ensure_ascii=False)}`", "", *_table(part["rows"])]
    return "\n".join(lines) + "\n"


def text(found: dict[str, Found]) -> list[str]:
    """The same for a terminal."""
    lines = []
    for name, one in found.items():
        lines.append(f"== {name}")
        for row in one.rows:
            figures = "  ".join(f"{key} {value:,}" if isinstance(value, int) else f"{key} {value}" for key, value in row.figures.items())
            lines.append(f"{row.name:58} {figures}{'  ' if figures and row.note else ''}{row.note}")
    return [*lines, "== promised", *(bar.line() for one in found.values() for bar in one.bars)]


def _table(rows: list[dict[str, Any]]) -> list[str]:
    columns = list(dict.fromkeys(key for row in rows for key in row["figures"]))
    lines = ["| " + " | ".join(["", *columns, ""]) + " |", "|" + "---|" * (len(columns) + 2)]
    for row in rows:
        cells = [row["name"], *(_cell(row["figures"].get(key, "")) for key in columns), row["note"]]
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return lines


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
