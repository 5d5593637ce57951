"""From the folder of a run or of a saved module to what a hub publishes of it: its data files, the facts of its card, and card.md.

Only files that nlphub itself writes are published: a folder may hold texts of customers beside its weights. Nothing is executed, and
torch is not needed, except to name the tasks of a module without a head.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nlphub.errors import InputError, brief
from nlphub.hub import zoo

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "nlphub_tokenizer.json"
PUBLISHED = (
    CONFIG, WEIGHTS, TOKENIZER, "folds.tsv", "references.safetensors", "sentencepiece.model", "vocab.txt", "words.txt",
)  # fmt: skip
_NEEDED = (CONFIG, WEIGHTS, TOKENIZER)
_KNOWN = {*PUBLISHED, "README.md", "training_state.json", "training_state.safetensors"}
_MAX_CONFIG = 1 << 20  # bytes
_SHOWN = 200  # labels in a card
_PIPELINES = {
    "seq-cls": "text-classification", "multi-label": "text-classification", "regression": "text-classification",
    "text-matching": "text-classification", "token-cls": "token-classification", "mlm": "fill-mask", "embedding": "sentence-similarity",
    "reading": "question-answering",
}  # fmt: skip  # what the cards of Hugging Face call our tasks


@dataclass(frozen=True, slots=True)
class Source:
    """A saved module that is to be published.

    Attributes:
        folder: its own: of a run ``best/``.
        config: what config.json says.
        files: names of the files to publish, sorted.
        left_out: names of what lies there besides, sorted.
        scores: of the run that it comes from: name -> value; empty if there is no report.
        judged_on: the split that they are of.
    """

    folder: Path
    config: Mapping[str, Any]
    files: tuple[str, ...]
    left_out: tuple[str, ...]
    scores: Mapping[str, float]
    judged_on: str = ""


def find_source(directory: Path) -> Source:
    """A saved module in a folder, in ``best/`` of a run, or in ``module/`` of a pretraining.

    Raises:
        InputError: there is none, it is incomplete, or it needs code that does not ship with nlphub.
    """
    if (directory / "nlphub.json").is_file():
        raise InputError(f"{directory} is an exported artefact; publish the run that it was exported from, e.g. runs/intent")
    places = [place for place in (directory, directory / "best", directory / "module") if (place / CONFIG).is_file()]
    if not places:
        raise InputError(f"{directory} is no module and no run: there is no {CONFIG} in it, in its best/ or in its module/")
    place = places[0]
    config = _read(place / CONFIG)
    if problems := list(_problems(place, config)):
        raise InputError(f"{place} cannot be published as it is.", problems)
    there = {path.name for path in place.iterdir()}
    files = tuple(name for name in PUBLISHED if name in there)
    scores, judged_on = _scores(directory / "report" / "metrics.json")
    return Source(place, config, tuple(sorted(files)), tuple(sorted(there - _KNOWN)), scores, judged_on)


def facts(source: Source, *, summary: str | None, licence: str | None, language: str, aliases: Sequence[str]) -> dict[str, Any]:
    """The facts of the card, as registry.json has them, without version and files.

    Raises:
        InputError: nobody says under which licence the weights are.
    """
    config, base = source.config, _base(source.config)
    if not (licence or base.get("licence")):
        raise InputError(f"{source.folder} does not say which licence its weights have; give it: --licence Apache-2.0")
    tokenizer = config.get("tokenizer", {}).get("name") or _read(source.folder / TOKENIZER).get("kind")
    return {
        "aliases": sorted(aliases),
        "architecture": config["architecture"],
        "language": language,
        "licence": licence or base["licence"],
        "parameters": _parameters(source.folder / WEIGHTS),
        "summary": summary or _summary(config, base),
        "tasks": _tasks(config),
        "tokenizer": tokenizer,
        "upstream": f"{base['name']} {base.get('version', '')}".strip() if base.get("name") else None,
    }


def card_text(name: str, version: str, known: Mapping[str, Any], source: Source, notes: str) -> str:
    """card.md: front matter as Hugging Face's cards have it, then what a reader wants to know."""
    task = source.config.get("task")
    front: dict[str, Any] = {
        "language": known["language"], "license": known["licence"], "library_name": "nlphub",
        "tags": ["nlphub", *known["tasks"]], "model_name": name, "version": version,
    }  # fmt: skip
    if task in _PIPELINES:
        front["pipeline_tag"] = _PIPELINES[task]
    if known["upstream"]:
        front["base_model"] = known["upstream"].split()[0]
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in sorted(front.items())]  # JSON is YAML
    sections = [*_sections(source), *([notes.strip()] if notes.strip() else [])]
    use = f"```python\nimport nlphub as hub\n\nmodule = hub.Module(name={name!r}, version={version!r})\n```"
    return "\n".join(
        ["---", *lines, "---", "", f"# {name} {version}", "", known["summary"], "", use, *("\n" + part for part in sections), ""]
    )


def _sections(source: Source) -> Iterator[str]:
    config, scores = source.config, source.scores
    labels, calibration = config.get("labels") or [], config.get("calibration") or {}
    if labels and config.get("task"):
        shown = "\n".join(f"- {_line(label)}" for label in labels[:_SHOWN])
        more = f"\n- and {len(labels) - _SHOWN:,} more" if len(labels) > _SHOWN else ""
        yield f"## Labels ({len(labels)}, task {config['task']})\n\n{shown}{more}"
    if calibration:
        own = calibration.get("thresholds") or {}
        yield (
            f"## Calibration\n\nTemperature {calibration.get('temperature', 1.0):.4g}; an answer is accepted from "
            f"{calibration.get('confidence', 'probability')} {calibration.get('threshold', 0.0):.4g} on"
            f"{f', {len(own)} labels have thresholds of their own' if own else ''}."
        )
    if scores:
        rows = "\n".join(f"| {_line(name)} | {value if isinstance(value, int) else f'{value:.4f}'} |" for name, value in scores.items())
        split = f" ({_line(source.judged_on)})" if source.judged_on else ""
        yield f"## Scores of its own run{split}\n\n| score | value |\n|---|---|\n{rows}"


def _problems(place: Path, config: Mapping[str, Any]) -> Iterator[str]:
    architecture = config.get("architecture")
    if architecture not in zoo.names():
        there = ", ".join(zoo.names())
        yield f"its architecture {brief(architecture)} does not ship with nlphub, so nobody else could build it; there are {there}"
    for name in _NEEDED:
        if not (place / name).is_file():
            yield f"{name} is missing; write the whole module first: hub.Module(directory=...).save('saved')"
    yield from (f"{name} is a link; publish the file itself" for name in PUBLISHED if (place / name).is_symlink())
    for key, kind in (("tokenizer", dict), ("base", dict), ("calibration", dict), ("labels", list), ("heads", list)):
        if not isinstance(config.get(key), kind | None):
            yield f"{CONFIG}: {key} is {brief(config[key])}"


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_CONFIG + 1)
        values = json.loads(data) if len(data) <= _MAX_CONFIG else None
    except (OSError, ValueError, RecursionError) as wrong:
        raise InputError(f"{path} cannot be read: {wrong}") from wrong
    if not isinstance(values, dict):
        raise InputError(f"{path} is no JSON table of at most {_MAX_CONFIG:,} bytes")
    return values


def _base(config: Mapping[str, Any]) -> dict[str, str]:
    base = config.get("base") or {}
    return {key: value for key, value in base.items() if isinstance(value, str)}


def _summary(config: Mapping[str, Any], base: Mapping[str, str]) -> str:
    labels, name = config.get("labels") or [], base.get("name", config["architecture"])
    return f"{name}, fine-tuned: {config['task']} with {len(labels)} labels." if config.get("task") else f"{name}, an encoder."


def _tasks(config: Mapping[str, Any]) -> list[str]:
    """Of a fine-tuned module its one; of an encoder all for which there is a head."""
    return [config["task"]] if config.get("task") else sorted(zoo.load(config["architecture"]).heads)


def _parameters(weights: Path) -> int | None:
    """Numbers in the encoder's tensors, counted in the file's header; ``None`` for weights that are stored small (they bring scales)."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(weights, "numpy") as tensors:
            if (tensors.metadata() or {}).get("form"):
                return None
            sizes = [_product(tensors.get_slice(name).get_shape()) for name in tensors.keys() if name.startswith("encoder.")]  # noqa: SIM118 - no dict
    except (SafetensorError, OSError) as broken:
        raise InputError(f"{weights} is damaged: {broken}") from broken
    return sum(sizes)


def _product(shape: Sequence[int]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


def _scores(path: Path) -> tuple[dict[str, float], str]:
    """The plain numbers of a run's metrics, and the split that they are of."""
    found = _read(path) if path.is_file() else {}
    numbers = {key: value for key, value in sorted(found.items()) if isinstance(value, int | float) and not isinstance(value, bool)}
    return numbers, str(found.get("judged_on") or "")


def _line(text: object) -> str:
    """One line of Markdown that is only text."""
    return "".join(character if character.isprintable() and character not in "|<>`[]" else " " for character in str(text))
