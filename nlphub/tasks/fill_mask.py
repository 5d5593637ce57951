"""``mlm``: which tokens belong where a text says ``[MASK]``.

Notation: ``b`` texts of the caller, ``t`` tokens of all of them, ``w`` masks of all of them, ``n`` entries of the vocabulary.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from nlphub.calibration import Calibration, softmax
from nlphub.errors import InputError, brief
from nlphub.labels import check_labels
from nlphub.tasks.base import Flags, Inputs, Logits
from nlphub.tasks.predictions import as_texts
from nlphub.text.blanks import BLANK
from nlphub.text.encoding import Ints
from nlphub.text.tokenizers import Tokenizer

_SPECIAL = re.compile(r"\[[A-Za-z]+[0-9]*\]")  # [PAD], [UNK], [unused7]: entries that stand for no text


@dataclass(frozen=True, slots=True)
class FilledMask:
    """What belongs at one mask.

    Attributes:
        start: where its ``[MASK]`` starts in the caller's text, in code points.
        token: the most probable entry of the vocabulary.
        score: its probability among all that can stand in a text, 0 to 1.
        top: the most probable entries with their probabilities, best first.
    """

    start: int
    token: str
    score: float
    top: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class FilledText:
    """The answer for one text.

    Attributes:
        text: the caller's text with the best token in place of each mask. Each mask is filled as if the others stayed masks.
        masks: one for each mask, in their order.
    """

    text: str
    masks: tuple[FilledMask, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {"filled": self.text, "masks": [asdict(mask) for mask in self.masks]}

    def __str__(self) -> str:
        """The filled text, and a line for each mask."""
        return "\n".join([self.text, *(f"  {', '.join(f'{token} {score:.3f}' for token, score in mask.top)}" for mask in self.masks)])


@dataclass(frozen=True, slots=True, eq=False)
class MaskedInputs(Inputs):
    """Inputs with masks.

    Attributes:
        masks: ``(t,)`` bool, ``w`` of them set.
    """

    masks: Flags


class FillMaskTask:
    """The words of masked tokens. The head's outputs are the entries of the vocabulary, and so are the labels."""

    name = "mlm"
    rows: Literal["cls", "all"] = "all"

    def outputs(self, labels: Sequence[str]) -> tuple[str, ...]:
        """The labels themselves: the tokenizer's vocabulary."""
        check_labels(labels)
        return tuple(labels)

    def read(self, given: Any, tokenizer: Tokenizer, *, max_length: int) -> MaskedInputs:
        """Strings with at least one ``[MASK]`` each, in either case; a single string counts as a list of one.

        Raises:
            InputError: texts without a mask, or with one that was cut off; all rows at once.
        """
        texts = as_texts(given)
        encoded = tokenizer.encode_masked(texts, max_length=max_length)
        masks = encoded.ids == tokenizer.mask_id
        seen = np.add.reduceat(masks, encoded.starts[:-1], dtype=np.int64) if len(encoded) else np.zeros(0, np.int64)
        if problems := list(_problems(texts, seen, max_length)):
            raise InputError(f"{len(problems)} of {len(texts)} texts cannot be filled; write [MASK] where a character is missing", problems)
        return MaskedInputs(texts, None, encoded, masks)

    def wanted(self, inputs: Inputs) -> Flags:
        """The masks, ``(t,)`` bool."""
        if not isinstance(inputs, MaskedInputs):
            raise TypeError("fill-mask is asked about what its own read() gave")
        return inputs.masks

    def decode(self, logits: Logits, inputs: Inputs, labels: Sequence[str], *, top_k: int, calibration: Calibration) -> list[FilledText]:
        """One :class:`~nlphub.FilledText` for each text; special and unused entries of the vocabulary are never candidates.

        Args:
            logits: ``(w, n)``.

        Raises:
            InputError: ``top_k`` is not positive.
        """
        if top_k < 1:
            raise InputError(f"top_k={top_k!r} must be at least 1")
        places = np.flatnonzero(self.wanted(inputs))
        starts = inputs.encoded.offsets[places, 0]
        rows = np.searchsorted(inputs.encoded.starts, places, side="right") - 1
        best = list(_best(logits, labels, top_k=top_k, temperature=calibration.temperature))
        filled = [FilledMask(start, *top[0], tuple(top)) for start, top in zip(starts.tolist(), best, strict=True)]
        edges = np.searchsorted(rows, np.arange(len(inputs.texts) + 1))
        return [_filled(text, filled[a:b]) for text, a, b in zip(inputs.texts, edges, edges[1:], strict=False)]


def candidates(vocabulary: Sequence[str]) -> Ints:
    """Ids of the entries that can stand in a text, ascending: all but special and unused ones."""
    return np.array([number for number, entry in enumerate(vocabulary) if not _SPECIAL.fullmatch(entry)], np.int64)


def _best(logits: Logits, labels: Sequence[str], *, top_k: int, temperature: float) -> Iterator[list[tuple[str, float]]]:
    """The ``top_k`` candidates of each mask with their probabilities; equal ones keep the order of the vocabulary."""
    ids = candidates(labels)
    for row in logits:  # one by one: float64 for all masks of a large batch would take gigabytes
        scores = softmax(row[ids][None, :], temperature=temperature)[0]
        yield [(labels[ids[place]], float(scores[place])) for place in np.argsort(-scores, kind="stable")[:top_k]]


def _filled(text: str, masks: Sequence[FilledMask]) -> FilledText:
    tokens = iter(mask.token for mask in masks)
    return FilledText(BLANK.sub(lambda _: next(tokens), text), tuple(masks))


def _problems(texts: Sequence[str], seen: Ints, max_length: int) -> Iterator[str]:
    for number, (text, count) in enumerate(zip(texts, seen.tolist(), strict=True)):
        written = len(BLANK.findall(text))
        if not written:
            yield f"texts[{number}] ({brief(text)}) has no [MASK]"
        elif written > count:
            behind = f"{written - count} of its {written} [MASK] behind the {max_length} tokens that are read"
            yield f"texts[{number}] ({brief(text)}) has {behind}"
