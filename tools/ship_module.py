"""Put pretrained weights into the repository, as the module that ships.

    python tools/ship_module.py RUN --version 0.2.0 [--form int8] [--module ernie_tiny] [--summary TEXT]
    python tools/ship_module.py RUN --blend BEFORE --share 0.7 --version 0.3.0

RUN is a module folder that pretraining left (or a run whose best/ is one): config.json, model.safetensors with encoder.* and heads.mlm.*,
and the tokenizer's files. This writes modules/<module>/model.safetensors in the form that is asked for and its config.json (no task, no
seed, the heads that ship), states the version in registry.json and in the documents, and renews sizes and digests there
(tools/build_registry.py). It prints size, digest and what the form costs in exactness, and lists what a person has to write: the scores
and the story in the card.

With --blend, each weight is a share of RUN's and the rest of what RUN started from, BEFORE: between the two lie networks that keep more of
what BEFORE could (WiSE-FT, Wortsman et al., 2022, arXiv:2109.01903).
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from nlphub import files  # noqa: E402 - from this repository, installed or not
from nlphub.checkpoints import compact, native  # noqa: E402
from nlphub.errors import InputError, NlphubError  # noqa: E402
from nlphub.hub import names, zoo  # noqa: E402

DOCUMENTS = ("README.md", "README.zh.md", "modules/{module}/README.md")  # each states "<module> <version>", with or without `...`
KEPT = ("architecture", "encoder", "tokenizer")  # keys of config.json that a shipped module has from the run


def main() -> int:
    arguments = parse()
    place = ROOT / "modules" / arguments.module
    try:
        version = check_version(arguments.version)
        run = module_folder(arguments.run)
        config, weights = load(run, arguments.module)
        if arguments.blend is not None:
            weights = blended(weights, load(module_folder(arguments.blend), arguments.module)[1], share=arguments.share)
        lines = list(ship(place, config, weights, form=arguments.form))
    except NlphubError as wrong:
        print(wrong, file=sys.stderr)
        return wrong.exit_code
    old = state_version(arguments.module, version, arguments.summary)
    lines += replace_in_documents(arguments.module, old, version)
    subprocess.run([sys.executable, ROOT / "tools" / "build_registry.py"], check=True)
    print("\n".join(lines))
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="module folder with encoder and masked-LM head")
    parser.add_argument("--version", required=True, help="e.g. 0.2.0; bootstrap weights are 0.x")
    parser.add_argument("--form", default="int8", choices=compact.FORMS)
    parser.add_argument("--module", default="ernie_tiny")
    parser.add_argument("--blend", type=Path, metavar="BEFORE", help="the module folder that RUN started from")
    parser.add_argument("--share", type=float, default=0.7, help="of RUN's weights, with --blend")
    parser.add_argument("--summary", help="one line for registry.json; default says pretrained, or bootstrap below 1.0")
    return parser.parse_args()


def check_version(version: str) -> str:
    try:
        return names.check_version(version)
    except ValueError as wrong:
        raise InputError(f"--version {version!r}: {wrong}") from wrong


def module_folder(run: Path) -> Path:
    """The folder itself, or best/ of a run."""
    return run / "best" if not (run / native.CONFIG).is_file() and (run / "best" / native.CONFIG).is_file() else run


def load(run: Path, module: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Config and weights of encoder and masked-LM head, checked as ``hub.Module`` checks them.

    Raises:
        WeightsError: they do not fit the network of ``module`` or its tokenizer.
        InputError: the folder is another architecture's.
    """
    config = native.load_config(run)
    if config["architecture"] != module:
        raise InputError(f"{run} holds {config['architecture']!r}, and --module says {module!r}")
    parts = zoo.load(module)
    tokenizer = parts.tokenizer(ROOT / "tokenizers" / config.get("tokenizer", {}).get("name", "zh_char"))
    native.check_tokenizer(config, tokenizer)
    encoder = parts.transformer(**config["encoder"])
    head = parts.heads["mlm"](encoder.config.width, len(tokenizer))
    native.load_weights(run, encoder=encoder, head=head)
    config["tokenizer"] = {"digest": tokenizer.digest, "name": config.get("tokenizer", {}).get("name", "zh_char")}
    return config, native.tensors(encoder, head)


def blended(weights: dict[str, Any], before: dict[str, Any], *, share: float) -> dict[str, Any]:
    """``share`` of the one and the rest of the other, tensor by tensor.

    Raises:
        InputError: the share is not between 0 and 1.
    """
    if not 0 < share <= 1:
        raise InputError(f"--share {share} must be more than 0 and at most 1")
    return {name: share * tensor + (1 - share) * before[name] for name, tensor in weights.items()}


def ship(place: Path, config: dict[str, Any], weights: dict[str, Any], *, form: str) -> Iterator[str]:
    """Write weights and config of the module, and say what was written."""
    path = place / native.WEIGHTS
    native.save_weights(path, weights, form=form)
    files.publish_json(place / native.CONFIG, {key: config[key] for key in KEPT} | {"heads": ["mlm"], "task": None})
    yield f"{path.relative_to(ROOT)}: {form}, {path.stat().st_size:,} bytes, sha256 {files.sha256(path)}"
    stored, metadata = compact.compact(weights, form)
    again = compact.expand(stored, {name: tuple(tensor.shape) for name, tensor in weights.items()}, compact.form_of(metadata))
    off = {name: float((again[name] - tensor).abs().max() / tensor.abs().max().clamp_min(1e-30)) for name, tensor in weights.items()}
    worst = max(off, key=off.__getitem__)
    yield f"largest error of a value, as a share of the largest value of its tensor: {off[worst]:.2e} in {worst}"


def state_version(module: str, version: str, summary: str | None) -> str:
    """Write version and summary into registry.json; returns the version that stood there."""
    registry = json.loads((ROOT / "registry.json").read_text("utf-8"))
    card = registry["modules"][module]
    if isinstance(card, list):
        raise SystemExit(f"registry.json lists several versions of {module}: write the new card by hand, then run tools/build_registry.py")
    kind = "Bootstrap weights, pretrained for a short time" if version.startswith("0.") else "Pretrained"
    old, card["version"] = card["version"], version
    card["summary"] = summary or f"Small ERNIE for Chinese, one token per character. {kind} with whole-word masking on open Chinese text."
    files.publish_json(ROOT / "registry.json", registry)
    return str(old)


def replace_in_documents(module: str, old: str, new: str) -> Iterator[str]:
    """Replace the module's version where documents state it, and list the lines that still speak of the old state of things."""
    for name in DOCUMENTS:
        path = ROOT / name.format(module=module)
        text = path.read_text("utf-8")
        changed = text.replace(f"`{module}` {old}", f"`{module}` {new}").replace(f"# {module} {old}", f"# {module} {new}")
        changed = changed.replace(f'version="=={old}"', f'version="=={new}"')
        if changed != text:
            files.publish_text(path, changed)
        for number, line in enumerate(changed.splitlines(), start=1):
            if any(word in line.lower() for word in ("random", "no trained weights", "随机", "没有预训练")):
                yield f"to rewrite: {path.relative_to(ROOT)}:{number}: {line.strip()[:90]}"


if __name__ == "__main__":
    sys.exit(main())
