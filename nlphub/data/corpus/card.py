"""The data card: what went in, what every step took away, what came out, with digests; as JSON and as Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nlphub.data.corpus import counts
from nlphub.data.corpus.counts import Counts, Row

Card = dict[str, Any]

_EXPLAINED = {
    counts.GARBLED: "characters that only a wrong encoding makes",
    counts.REPEATED: "lines that repeat one or two characters",
    counts.FOREIGN: "lines with little Han in them: code, other languages, numbers",
    counts.BOILERPLATE: "short lines of page furniture: copyright, links, calls to follow",
    counts.REPEATED_LINE: "lines that their document has had",
    counts.SHORT: "documents with too few characters, once their lines were judged",
    counts.REPETITIVE: "documents that say the same over and over (10-grams)",
    counts.SAME_DOCUMENT: "documents equal to an earlier one, as normalised",
    counts.NEAR_DOCUMENT: "documents near-equal to an earlier one (MinHash of 5-grams, 0.8)",
    counts.SAME_LINE: "long lines equal to an earlier one",
    counts.CAPPED: "documents above the cap of their source, drawn by the seed",
    counts.EVALUATION_LINE: "lines under 13 characters that equal a text of the evaluation data",
    counts.EVALUATION_GRAM: "lines that share 13 characters in a row with a text of the evaluation data",
    counts.LEFT_SHORT: "documents of which too little was left",
}


def source_card(facts: Mapping[str, Any], steps: Counts, shards: Sequence[Mapping[str, Any]]) -> Card:
    """What is said of one source.

    Args:
        facts: its name, file, licence, origin, cap and weight.
        steps: what was read, taken away and written.
        shards: path, bytes, sha256, documents, tokens and words of each shard.
    """
    return {
        **facts,
        "steps": {step: list(row) for step, row in steps.items() if any(row)},
        "shards": sorted((dict(shard) for shard in shards), key=lambda shard: shard["path"]),
        **{split: _sum(shards, split) for split in ("train", "dev")},
    }


def totals(sources: Sequence[Card]) -> Card:
    """The sums over all sources."""
    return {
        "steps": {step: list(row) for step, row in Counts.total(source["steps"] for source in sources).items()},
        **{split: _sum([shard for source in sources for shard in source["shards"]], split) for split in ("train", "dev")},
    }


def markdown(card: Card) -> str:
    """The card for people."""
    whole, evaluation = card["totals"], card["evaluation"]
    lines = [
        "# Data card",
        "",
        f"{whole['train']['tokens']:,} tokens for training and {whole['dev']['tokens']:,} for validation, "
        f"from {len(card['sources'])} sources, made by `nlphub pretrain-data` (preparation {card['plan'][:12]}).",
        "",
        f"Tokenizer `{card['tokenizer']['name']}`, digest `{card['tokenizer']['digest']}`. Word boundaries: {card['words']}. "
        f"Seed {card['settings']['seed']}; {card['settings']['held_out']:.2%} of the documents of each source are held out.",
        "",
        f"Kept out: {len(evaluation['files'])} files of evaluation data with {evaluation['grams']:,} parts of 13 characters "
        f"and {evaluation['short']:,} shorter texts.",
        "",
        "## Sources",
        "",
        *_table(
            ("source", "MB", "characters read", "kept", "train tokens", "dev tokens", "weight", "licence"),
            [_overview(source) for source in card["sources"]],
        ),
        "",
        *_origins(card["sources"]),
        "## All steps, all sources",
        "",
        *_steps(Counts.total([whole["steps"]])),
        "",
        *(f"- **{step}**: {text}" for step, text in _EXPLAINED.items()),
        "",
        "## Each source",
    ]
    for source in card["sources"]:
        lines += ["", f"### {_cell(source['name'])}", "", *_steps(Counts.total([source["steps"]]))]
    lines += [
        "",
        "## Evaluation data that was kept out",
        "",
        *(f"- `{file['name']}` {file['sha256']}" for file in evaluation["files"]),
    ]
    return "\n".join(lines) + "\n"


def _sum(shards: Iterable[Mapping[str, Any]], split: str) -> dict[str, int]:
    chosen = [shard for shard in shards if shard["path"].startswith(f"{split}/")]
    return {key: sum(shard[key] for shard in chosen) for key in ("documents", "tokens", "words", "bytes")}


def _overview(source: Card) -> tuple[str, ...]:
    read = source["steps"].get(counts.READ, (0, 0, 0))[2]
    kept = sum(source["steps"].get(step, (0, 0, 0))[2] for step in (counts.TRAIN, counts.DEV))
    return (
        source["name"],
        f"{source['file']['bytes'] / 1e6:.1f}",
        f"{read:,}",
        f"{kept / max(read, 1):.1%}",
        f"{source['train']['tokens']:,}",
        f"{source['dev']['tokens']:,}",
        f"{source['weight']:g}",
        source["licence"] or "not stated",
    )


def _origins(sources: Sequence[Card]) -> list[str]:
    lines = [f"- **{_cell(source['name'])}**: {_cell(source['origin'])}" for source in sources if source["origin"]]
    return [*lines, ""] if lines else []


def _steps(steps: Counts) -> list[str]:
    """Each step that took something: what it took, and what was left."""
    left: Row = steps[counts.READ]
    rows = [(counts.READ, *["-"] * 3, *map(_number, left))]
    for step in counts.DROPS:
        if any(steps[step]):
            left = (left[0] - steps[step][0], left[1] - steps[step][1], left[2] - steps[step][2])
            rows.append((step, *map(_number, steps[step]), *map(_number, left)))
    header = ("step", "documents taken", "lines taken", "characters taken", "documents left", "lines left", "characters left")
    note = [f"{steps[counts.UNREADABLE][1]:,} rows could not be read.", ""] if steps[counts.UNREADABLE][1] else []
    return note + _table(header, rows)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(map(_cell, line)) + " |" for line in lines]


def _cell(text: str) -> str:
    """Text that cannot break a table."""
    return " ".join(text.split()).replace("|", "\\|")


def _number(value: int) -> str:
    return f"{value:,}"
