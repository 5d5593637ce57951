"""Bring registry.json up to date with the files that this repository ships.

    python tools/build_registry.py            write what has changed
    python tools/build_registry.py --check    only compare; exit code 1 and the differences if it is stale

People write the facts of a module (summary, licence, tasks, ...); what can be measured is measured here: the files of modules/<name>/
and of its tokenizers/<tokenizer>/ with sizes and sha256, and the parameters of the encoder. Files that are downloaded stay as they are.
Of several versions of a module the newest is the one that this repository ships; the cards of older ones stay as they are.
A module without trained weights follows its tokenizer: the digest in its config.json is renewed too. Trained weights keep theirs.
"""

import argparse
import difflib
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from nlphub import files  # noqa: E402 - from this repository, installed or not
from nlphub.hub import names, versions, zoo  # noqa: E402
from nlphub.hub.registry import load_registry  # noqa: E402

REGISTRY = ROOT / "registry.json"
ONLY_FOR_TESTS = {"golden.jsonl"}
Entry = dict[str, Any] | list[dict[str, Any]]  # of a module: a card, or one for each version


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args().check
    old = REGISTRY.read_text("utf-8")
    registry = json.loads(old)
    own = [name for name in zoo.names() if (ROOT / "modules" / name / "config.json").is_file()]  # others build what was converted
    missing = [name for name in own if name not in registry["modules"]]
    if missing:
        print(f"registry.json has no entry for {', '.join(missing)}: write its facts first, with an empty list of files")
        return 1
    if not check:
        for name, entry in registry["modules"].items():
            if newest(entry).get("origins"):
                continue
            follow_tokenizer(ROOT / "modules" / name / "config.json", ROOT / "tokenizers" / newest(entry)["tokenizer"])
    registry["modules"] = {name: measured(name, entry) for name, entry in registry["modules"].items()}
    new = files.json_text(registry)
    if check:
        sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), new.splitlines(True), "registry.json", "as it should be"))
        return int(old != new)
    if old != new:
        files.publish_text(REGISTRY, new)
    cards = load_registry([REGISTRY]).cards
    print(f"registry.json: {len(cards)} modules, {'written' if old != new else 'nothing has changed'}")
    return 0


def follow_tokenizer(config: Path, tokenizer: Path) -> None:
    """Write the tokenizer's digest into the config of a module whose weights are made from a seed."""
    facts = json.loads(config.read_text("utf-8"))
    digest = json.loads((tokenizer / "nlphub_tokenizer.json").read_text("utf-8"))["digest"]
    if "initial_seed" in facts and facts["tokenizer"]["digest"] != digest:
        facts["tokenizer"]["digest"] = digest
        files.publish_json(config, facts)


def newest(entry: Entry) -> dict[str, Any]:
    """The card of the version that ships."""
    return max(entry, key=lambda card: versions.key(card["version"])) if isinstance(entry, list) else entry


def measured(name: str, entry: Entry) -> Entry:
    """The entry of a module, with everything that can be measured measured anew in its newest card."""
    card = newest(entry)
    if card.get("origins"):  # made when it is installed: there is nothing here to measure
        return entry
    shipped = {file["path"]: file for file in map(entry_of, shipped_files(name, card["tokenizer"]))}
    fetched = {file["path"]: file for file in card["files"] if not file["sources"][0].startswith("bundle:")}
    both = fetched | shipped
    new = card | {"files": [both[path] for path in sorted(both)], "parameters": parameters(card["architecture"], ROOT / "modules" / name)}
    return [new if other is card else other for other in entry] if isinstance(entry, list) else new


def shipped_files(name: str, tokenizer: str) -> list[Path]:
    folders = (ROOT / "modules" / name, ROOT / "tokenizers" / tokenizer)
    everything = (path for folder in folders for path in folder.glob("*") if path.is_file())
    return [path for path in everything if path.suffix in names.DATA_SUFFIXES and path.name not in ONLY_FOR_TESTS]


def entry_of(path: Path) -> dict[str, Any]:
    source = f"bundle:{path.relative_to(ROOT).as_posix()}"
    return {"path": path.name, "bytes": path.stat().st_size, "sha256": files.sha256(path), "sources": [source]}


def parameters(architecture: str, folder: Path) -> int:
    """Parameters of the encoder, counted on a device without memory."""
    import torch

    config = folder / "config.json"
    changes = json.loads(config.read_text("utf-8")).get("encoder", {}) if config.is_file() else {}
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in zoo.load(architecture).transformer(**changes).parameters())


if __name__ == "__main__":
    sys.exit(main())
