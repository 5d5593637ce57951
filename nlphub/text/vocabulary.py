"""vocab.txt: one entry a line, where the special ones are, and what every tokenizer with such a vocabulary can do."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nlphub.errors import StoreError, WeightsError
from nlphub.text.assembly import Flags
from nlphub.text.encoding import Encoded
from nlphub.text.manifest import SPECIAL
from nlphub.text.masking import Entries, Masked, Spans, mask_words

VOCABULARY_FILE = "vocab.txt"

_MOST = 1 << 24  # bytes


class Entered:
    """A tokenizer whose ids are places in a vocabulary.

    Attributes:
        vocabulary: the entries, at their ids.
        max_length: the most tokens of a sequence, special ones included.
        pad_id, unknown_id, cls_id, sep_id, mask_id: ids of the special entries.
    """

    def __init__(self, vocabulary: Sequence[str], *, max_length: int, random: range | None = None) -> None:
        """Find the special entries.

        Args:
            random: ids that masking draws at random; by default the longest stretch without a special one.

        Raises:
            WeightsError: the vocabulary lacks a special entry.
        """
        self.vocabulary, self.max_length = tuple(vocabulary), max_length
        special = special_ids(self.vocabulary)
        self.pad_id, self.unknown_id, self.cls_id, self.sep_id, self.mask_id = special
        self._entries = Entries(self.mask_id, special, random or ordinary_range(special, len(self.vocabulary)))

    def __len__(self) -> int:
        return len(self.vocabulary)

    def mask(
        self,
        encoded: Encoded,
        word_starts: Flags,
        *,
        generator: np.random.Generator,
        rate: float = 0.15,
        spans: Spans | None = None,
    ) -> Masked:
        """Mask whole words and, as units, the caller's entities or phrases; see :func:`nlphub.text.masking.mask_words`."""
        return mask_words(encoded, word_starts, self._entries, generator=generator, rate=rate, spans=spans)


def read_vocabulary(path: Path) -> tuple[str, ...]:
    """The entries of a vocab.txt. Lines of old ones are ``entry<tab>id``, with ids in order; a last empty line is none.

    Raises:
        StoreError: it is missing, too large, not UTF-8, or its ids are not in order.
    """
    try:
        if path.stat().st_size > _MOST:
            raise StoreError(f"{path} is larger than {_MOST:,} bytes: this is no vocabulary")
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as damaged:
        raise StoreError(f"The vocabulary {path} cannot be read: {damaged}") from damaged
    lines = text.removesuffix("\n").split("\n")
    lines = [line.removesuffix("\r") for line in lines]
    if not all("\t" in line for line in lines):
        return tuple(lines)
    split = [line.rpartition("\t") for line in lines]
    wrong = next((number for number, (_, _, given) in enumerate(split) if given != str(number)), None)
    if wrong is not None:
        raise StoreError(f"{path} line {wrong + 1}: {lines[wrong][:40]!r} should end in its id, {wrong}")
    return tuple(entry for entry, _, _ in split)


def special_ids(vocabulary: Sequence[str]) -> tuple[int, ...]:
    """Ids of [PAD], [UNK], [CLS], [SEP] and [MASK], of several equal entries the last.

    Raises:
        WeightsError: one is missing.
    """
    ids = {entry: number for number, entry in enumerate(vocabulary)}
    if missing := [entry for entry in SPECIAL.values() if entry not in ids]:
        raise WeightsError(
            f"This vocabulary of {len(vocabulary):,} entries lacks {', '.join(missing)}, which a BERT or ERNIE encoder needs"
        )
    return tuple(ids[entry] for entry in SPECIAL.values())


def ordinary_range(special: Sequence[int], size: int) -> range:
    """The longest stretch of ids without a special one: those that masking draws at random."""
    edges = [-1, *sorted(special), size]
    return max((range(a + 1, b) for a, b in itertools.pairwise(edges)), key=len)
