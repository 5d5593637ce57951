"""A smaller module from a module: cut by measured importance, then taught to recover by the usual Trainer.

The order is: vocabulary, layers, heads, inner units (each measured on what the cut before has left), recovery.
"""

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlphub.calibration import NEUTRAL
from nlphub.checkpoints.native import weights_digest
from nlphub.compress.cutting import keep_heads, keep_inner, keep_layers, owned, spread_layers
from nlphub.compress.importance import Sample, choose_layers, measure
from nlphub.compress.vocabulary import Coverage, coverage, estimated_loss, needed_entries, rebuilt, restrict_vocabulary
from nlphub.data.examples import Examples
from nlphub.errors import InputError
from nlphub.module import Module
from nlphub.nn.config import EncoderConfig
from nlphub.nn.encoder import Encoder

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shape:
    """What is wanted of an encoder; ``None`` leaves a number as it is.

    Attributes:
        layers: how many layers stay.
        heads: how many heads of each layer stay.
        inner: how many units of each feed-forward layer stay.
    """

    layers: int | None = None
    heads: int | None = None
    inner: int | None = None

    def problems(self, config: EncoderConfig) -> list[str]:
        """What an encoder of these numbers cannot become."""
        wanted = {"layers": self.layers, "heads": self.heads, "inner": self.inner}
        there = {name: getattr(config, name) for name in wanted}
        if config.shared and any(value is not None for value in wanted.values()):
            return ["layers, heads and inner units cannot be cut: all layers of this module share their weights; cut its vocabulary"]
        return [
            f"{name}={value}: this module has {there[name]}; give a number from 1 to {there[name]}"
            for name, value in wanted.items()
            if value is not None and not 1 <= value <= there[name]
        ]


@dataclass(frozen=True, slots=True)
class Words:
    """Which entries of a vocabulary stay.

    Attributes:
        texts: of the domain.
        common: so many of the most frequent Chinese characters stay in any case.
        basics: whether digits, Latin letters and punctuation do.
        held_out: texts of the domain that decide nothing, to count what is lost on them.
    """

    texts: tuple[str, ...]
    common: int = 0
    basics: bool = True
    held_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Smaller:
    """What :func:`shrink` made.

    Attributes:
        module: the smaller module.
        source_digest: SHA-256 of the weights that it was cut from.
        layers: numbers of the layers that stayed, in the source; ``None`` if all.
        importance: how they, the heads and the units were chosen: ``measured`` or ``spread``; ``None`` where nothing was chosen.
        entries: entries of the vocabulary before and after; ``None`` if all stayed.
        exact: whether the texts that decided the vocabulary have the tokens that they had.
        expected_loss: share of the characters of such texts that is expected to become ``[UNK]``; ``None`` where it cannot be said.
        held_out: what is lost on the held-out texts; ``None`` without any.
    """

    module: Module
    source_digest: str
    layers: tuple[int, ...] | None = None
    importance: str | None = None
    entries: tuple[int, int] | None = None
    exact: bool | None = None
    expected_loss: float | None = None
    held_out: Coverage | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON: what config.json says under ``smaller``."""
        facts = {
            "source_sha256": self.source_digest,
            "layers": list(self.layers) if self.layers is not None else None,
            "chosen": self.importance,
            "entries": list(self.entries) if self.entries is not None else None,
            "exact": self.exact,
            "expected_loss": round(self.expected_loss, 6) if self.expected_loss is not None else None,
            "held_out": self.held_out.as_dict() if self.held_out is not None else None,
        }
        return {name: value for name, value in facts.items() if value is not None}


def shrink(module: Module, shape: Shape = Shape(), *, words: Words | None = None, examples: Examples | None = None) -> Smaller:
    """Cut a module; it stays as it is, and the result is another one. Nothing is learnt here: recover with :class:`nlphub.Trainer`.

    Where only the vocabulary is cut, the result answers as the module did, and keeps its calibration; else the calibration is neutral.

    Args:
        module: with or without a head.
        shape: what its encoder becomes.
        words: which entries of its vocabulary stay; ``None`` = all.
        examples: to measure on, labelled for the module's head (of ``mlm`` plain texts). Without any, layers are spread evenly, and
            heads and units cannot be chosen.

    Raises:
        InputError: nothing is asked for, or it cannot be; all reasons at once.
    """
    _check(module, shape, words, examples)
    digest = weights_digest(module.encoder, module.head)
    small, facts = _fewer_words(module, words) if words is not None else (module, {})
    encoder, chosen = _cut(small, shape, examples)
    if chosen or small is module:
        small = rebuilt(small, encoder=owned(encoder), tokenizer=small.tokenizer, head=copy.deepcopy(small.head), labels=small.labels)
        small.calibration = NEUTRAL if chosen else module.calibration
    made = replace(Smaller(small, digest, **facts), **chosen)
    small.config["smaller"] = [*module.config.get("smaller", []), made.as_dict()]
    return made


def _check(module: Module, shape: Shape, words: Words | None, examples: Examples | None) -> None:
    problems = shape.problems(module.encoder.config)
    if shape == Shape() and words is None:
        problems.append("nothing is to become smaller: give a vocabulary, layers, heads or inner")
    if words is not None and not words.texts:
        problems.append("vocabulary: there are no texts to choose entries by")
    for name in ("heads", "inner"):
        wanted = getattr(shape, name)
        if wanted is not None and 1 <= wanted < getattr(module.encoder.config, name) and (examples is None or not len(examples)):
            problems.append(f"{name}={wanted}: which ones matter is measured on examples, and there are none; give data")
    if examples is not None and len(examples) and module.head is None:
        problems.append("there is no head whose loss could be measured on the examples: open the module with a task, e.g. task='mlm'")
    if problems:
        raise InputError("This module cannot be made smaller in this way:", problems)


def _fewer_words(module: Module, words: Words) -> tuple[Module, dict[str, Any]]:
    kept = needed_entries(module, words.texts, common=words.common, basics=words.basics)
    small = restrict_vocabulary(module, kept)
    expected = estimated_loss(module, words.texts, common=words.common, basics=words.basics)
    return small, {
        "entries": (module.encoder.config.vocab, len(kept)),
        "exact": _same_tokens(module, small, words.texts, kept),
        "expected_loss": None if np.isnan(expected) else expected,
        "held_out": coverage(module, small, words.held_out) if words.held_out else None,
    }


def _same_tokens(module: Module, small: Module, texts: Sequence[str], kept: NDArray[np.int64]) -> bool:
    before, after = (each.tokenizer.encode(list(texts), max_length=module.max_length) for each in (module, small))
    same = len(before.ids) == len(after.ids) and bool((before.ids == kept[after.ids]).all())
    if not same:
        log.warning("some of the texts that decided the vocabulary fall into other tokens now")
    return same


def _cut(module: Module, shape: Shape, examples: Examples | None) -> tuple[Encoder, dict[str, Any]]:
    """The encoder of the wanted shape, and how its parts were chosen."""
    encoder, config, chosen = module.encoder, module.encoder.config, {}
    sample = Sample.of(module, examples) if examples is not None and len(examples) and shape != Shape() else None
    if shape.layers is not None and shape.layers < config.layers:
        kept = choose_layers(encoder, sample, shape.layers) if sample else spread_layers(config.layers, shape.layers)
        encoder, chosen = keep_layers(encoder, kept), {"layers": kept, "importance": "measured" if sample else "spread"}
    if sample is not None and shape.heads is not None and shape.heads < config.heads:
        encoder = keep_heads(encoder, measure(encoder, sample).best_heads(shape.heads))
        chosen = {**chosen, "importance": "measured"}
    if sample is not None and shape.inner is not None and shape.inner < config.inner:
        encoder = keep_inner(encoder, measure(encoder, sample).best_inner(shape.inner))
        chosen = {**chosen, "importance": "measured"}
    return encoder, chosen
