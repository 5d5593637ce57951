"""vocab.txt: one entry a line, and where the special ones are."""

import itertools
from collections.abc import Sequence
from pathlib import Path

from nlphub.errors import StoreError, WeightsError
from nlphub.text.manifest import SPECIAL

VOCABULARY_FILE = "vocab.txt"

_MOST = 1 << 24  # bytes


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
