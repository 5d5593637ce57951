"""What is wrong with rows by themselves: unreadable, empty, unlabelled, garbled, too long, with personal data."""

from collections import Counter
from collections.abc import Mapping

import numpy as np

from nlphub.data.cells import is_blank
from nlphub.data.corpus.quality import garbled, is_han
from nlphub.data.doctor.collection import Collection
from nlphub.data.doctor.findings import Case, Finding, Row, found, listed
from nlphub.data.doctor.personal import find_personal
from nlphub.data.sheet import Complaints
from nlphub.text.normalize import code_points

_SIGNS = 0.3  # share of characters that mostly a wrong encoding makes; in a short text a name can have one of them
_MISREADINGS = (("gb18030", "utf-8"), ("latin-1", "utf-8"), ("cp1252", "utf-8"), ("latin-1", "gb2312"))  # read as, written in


def unreadable_rows(complaints: Mapping[str, Complaints]) -> list[Finding]:
    """Rows that the reader could not make an example of."""
    cases = [Case((Row(split, line, "", None),), why) for split, rows in complaints.items() for line, why in rows]
    return found("unreadable", cases, ("row", "not readable"), "Mend them in the file: `nlphub finetune` refuses it until then.")


def empty_texts(collection: Collection) -> list[Finding]:
    """Texts without a visible character."""
    cases = [Case((collection.row(n),)) for n, example in enumerate(collection.examples) if is_blank(example.text)]
    advice = "Write one or delete the row: `nlphub finetune` refuses the file until then."
    return found("empty", cases, ("row", "without text"), advice)


def missing_labels(collection: Collection) -> list[Finding]:
    """Texts that nobody labelled."""
    cases = [Case((collection.row(n),)) for n, example in enumerate(collection.examples) if example.label is None]
    advice = "Label them or delete the rows: `nlphub finetune` refuses the file until then."
    return found("unlabelled", cases, ("row", "without label"), advice)


def long_texts(collection: Collection, max_length: int) -> list[Finding]:
    """Texts that would be cut: more characters after folding than tokens, [CLS] and [SEP] taken off."""
    room = max_length - 2
    sizes = collection.batch.characters
    cases = [Case((collection.row(n),), f"{sizes[n]:,} characters") for n in np.flatnonzero(sizes > room).tolist()]
    advice = "Shorten them, or see to it that the beginning says it all."
    return found("long", cases, ("text", f"longer than {room} characters: the rest is not read"), advice)


def garbled_texts(collection: Collection) -> list[Finding]:
    """Texts that were decoded in a wrong encoding before they were saved; what they may have been is in the note."""
    texts = [example.text for example in collection.examples]
    mended = [repaired(text) for text in texts]
    signs = garbled(collection.batch, _SIGNS)
    wrong = [n for n, text in enumerate(texts) if mended[n] is not None or signs[n] or "\ufffd" in text]
    cases = [Case((collection.row(n),), f"perhaps: {mended[n]}" if mended[n] else "") for n in wrong]
    advice = "Export them again from where they came, as UTF-8; what reads as � cannot be brought back."
    return found("garbled", cases, ("text", "damaged by a wrong encoding before it came into this file"), advice)


def repaired(text: str) -> str | None:
    """What a garbled text was, if its bytes are Chinese in UTF-8 (or in GB2312, for Latin signs); ``None`` for all else.

    Chinese text is hardly ever valid UTF-8 when it is written in GB18030: 3 % of two-character strings, none of six and more; those are
    told apart by what else is asked for: fewer characters, all Chinese or ASCII. Up to a third may be lost, as happens where a character
    was cut in two; they become U+FFFD.
    """
    if text.isascii():
        return None
    for read_as, written_in in _MISREADINGS:
        try:
            result = text.encode(read_as).decode(written_in, "replace")
        except UnicodeError:
            continue
        if len(result) < len(text) and _is_chinese(result):
            return result
    return None


def personal_data(collection: Collection) -> list[Finding]:
    """Texts with personal data; they are shown masked."""
    cases, kinds = [], Counter[str]()
    for number, example in enumerate(collection.examples):
        if items := find_personal(example.text):
            names = [item.kind.name for item in items]
            kinds.update(names)
            cases.append(Case((collection.row(number),), listed(list(dict.fromkeys(names)))))
    parts = listed([f"{name} {count:,}" for name, count in kinds.most_common()])
    return found("personal", cases, ("text", f"with personal data: {parts}"), "Write a masked copy with --mask OUT.csv and train on that.")


def _is_chinese(text: str) -> bool:
    """Whether a text has Chinese characters, two for each one that is lost, and else only ASCII, punctuation and full-width forms."""
    codes = code_points(text)
    han, lost = is_han(codes), codes == 0xFFFD
    plain = (codes < 0x80) | ((codes >= 0x3000) & (codes < 0x3020)) | ((codes >= 0xFF00) & (codes < 0xFFF0)) | ((codes >> 8) == 0x20)
    return bool(han.any() and han.sum() >= 2 * lost.sum() and (han | plain | lost).all())
