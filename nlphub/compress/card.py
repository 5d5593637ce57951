"""README.md of a module that was made smaller: what was cut, from which weights, and what it cost."""

from collections.abc import Iterator, Mapping
from typing import Any

from nlphub import __version__


def card_text(facts: Mapping[str, Any], *, source: str, architecture: str) -> str:
    """The text of the card.

    Args:
        facts: :meth:`nlphub.compress.run.Shrunk.as_dict`.
        source: as the caller named it.
        architecture: of the module.
    """
    before, after = facts["parameters"]
    return "\n".join(
        [
            f"# {architecture}, made smaller",
            "",
            f"Made by nlphub {__version__} from `{source}` (weights sha256 {facts['smaller']['source_sha256']}).",
            "It is an ordinary module: `hub.Module(directory=...)`, `nlphub predict`, `nlphub export`.",
            "",
            f"- parameters: {before:,} before, {after:,} now ({after / before:.0%})",
            *(f"- {line}" for line in what_was_done(facts["smaller"])),
            *(f"- {line}" for line in scores_said(facts)),
            "",
        ]
    )


def what_was_done(smaller: Mapping[str, Any]) -> Iterator[str]:
    """Lines about the cuts themselves."""
    if "entries" in smaller:
        before, after = smaller["entries"]
        exact = "the texts that decided keep their tokens" if smaller["exact"] else "some of the texts that decided have other tokens"
        yield f"vocabulary: {before:,} entries before, {after:,} now; {exact}"
    if "expected_loss" in smaller:
        yield f"expected on more texts like these: {smaller['expected_loss']:.2%} of the characters become [UNK]"
    if "held_out" in smaller:
        held = smaller["held_out"]
        yield f"held-out texts: {held['lost']:.2%} of {held['characters']:,} characters became [UNK]"
    if "layers" in smaller:
        yield f"layers of the source that stayed, counted from 1: {', '.join(str(layer + 1) for layer in smaller['layers'])}"
    if "chosen" in smaller:
        yield f"what stayed was {'measured by the loss on examples' if smaller['chosen'] == 'measured' else 'spread evenly, unmeasured'}"


def scores_said(facts: Mapping[str, Any]) -> Iterator[str]:
    """Lines about what the cuts cost, and what recovery brought back."""
    names = {"source": "the source", "cut": "after the cut", "recovered": "after recovery"}
    if facts["scores"]:
        said = ", ".join(f"{names[name]} {score:.4f}" for name, score in facts["scores"].items())
        yield f"score on the {facts['judged_on']} set: {said}"
    if facts["recovery_steps"]:
        yield f"recovery: the weights of step {facts['recovery_steps']} or the best before it"
