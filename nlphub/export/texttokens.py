"""Text to padded ids inside a standard ONNX graph: what :class:`~nlphub.text.characters.CharacterTokenizer` and ``pad`` do together.

Two operators know strings: ``com.microsoft.Tokenizer`` and ``ai.onnx.ml.LabelEncoder``. The first cuts every text into pieces of at most
512 code points, of which only those are kept that hold the code points that the tokenizer looks at; the second tells pieces from
padding. The pieces of all texts then stand in one list, are cut into characters, and the table of the LabelEncoder, in which
normalisation and vocabulary are one, makes them ids. So a long text makes pieces of its own instead of padding for all others. The rest is
arithmetic on ids: counting, cutting, and putting each into its place.

Notation: ``b`` sequences, ``w`` texts of each (1 or 2), ``r = w b`` texts: all first ones, then all second ones; ``p`` pieces of all of
them, ``k`` characters that are left, ``s`` the longest sequence.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from nlphub.export.nodes import MICROSOFT, ML, Nodes
from nlphub.runtime.artefact import INPUTS
from nlphub.text.assembly import LOOKED_AT
from nlphub.text.characters import CharacterTokenizer
from nlphub.text.normalize import CODE_POINTS

_LONGEST_PIECE = 512  # code points; RE2 counts to 1,000 at most
_SURROGATES = range(0xD800, 0xE000)  # no UTF-8 holds one
_DROPPED = -1


@dataclass(frozen=True, slots=True)
class _Characters:
    """Names: ``(k,)`` ids, the texts they belong to, their places in these; ``(r,)`` how many each text has."""

    ids: str
    owners: str
    places: str
    counts: str


def add_tokenizer(nodes: Nodes, texts: str, pairs: str | None, *, tokenizer: CharacterTokenizer, max_length: int) -> None:
    """Make ``input_ids``, ``attention_mask`` and ``token_type_ids``, int64 ``(b, s)``.

    Args:
        texts: name of ``(b,)`` strings, b at least 1.
        pairs: name of ``(b,)`` second texts.
        max_length: tokens of a sequence.
    """
    count, every = nodes.add("Shape", texts), texts
    if pairs is not None:
        every = nodes.add(
            "Concat", texts, nodes.add("Reshape", pairs, count), axis=0
        )  # fails where there are fewer or more pairs than texts
    found = _characters(nodes, every, tokenizer)
    kept = _kept(nodes, found.counts, count, max_length, pairs=pairs is not None)
    chosen = nodes.add("Less", found.places, nodes.take(kept, found.owners))
    ids, owners, places = (nodes.add("Compress", part, chosen, axis=0) for part in (found.ids, found.owners, found.places))
    _assemble(nodes, _Characters(ids, owners, places, kept), count, tokenizer, pairs=pairs is not None)


def lookup_table(tokenizer: CharacterTokenizer) -> dict[str, int]:
    """The ids of all characters that are not unknown; -1 of those that the table drops, and of the empty string, which is padding."""
    codes, ids = tokenizer.table.codes, {entry: number for number, entry in enumerate(tokenizer.vocabulary)}
    found = {"": _DROPPED}
    for code in np.flatnonzero((codes == CODE_POINTS) | np.isin(codes, [ord(entry) for entry in ids if len(entry) == 1])).tolist():
        if code not in _SURROGATES:
            found[chr(code)] = ids[chr(codes[code])] if codes[code] < CODE_POINTS else _DROPPED
    return found


def _characters(nodes: Nodes, texts: str, tokenizer: CharacterTokenizer) -> _Characters:
    """All characters that are looked at and not dropped."""
    pieces, texts_of = _pieces(nodes, texts, tokenizer.max_length * LOOKED_AT)
    # One more piece, so that there is always one: of no strings the operator makes a tensor of another rank.
    whole = nodes.add("Concat", pieces, nodes.strings(["a"]), axis=0)
    characters = nodes.add("Tokenizer", whole, domain=MICROSOFT, mark=0, mincharnum=1, pad_value="", separators=[""])
    table, unknown = lookup_table(tokenizer), tokenizer.unknown_id
    encode: dict[str, Any] = {"keys_strings": list(table), "values_int64s": list(table.values()), "default_int64": unknown}
    every = nodes.add("Slice", nodes.add("LabelEncoder", characters, domain=ML, **encode), [0], [-1], [0])
    kept = nodes.add("NonZero", nodes.add("GreaterOrEqual", every, 0))
    owners = nodes.take(texts_of, nodes.take(kept, nodes.constant(0)))
    ones = nodes.add("Expand", 1, nodes.add("Shape", owners))
    counts = nodes.add("ScatterElements", nodes.add("Expand", 0, nodes.add("Shape", texts)), owners, ones, axis=0, reduction="add")
    before = nodes.add("CumSum", counts, 0, exclusive=1)
    order = nodes.counting(nodes.add("Squeeze", nodes.add("Shape", owners)))
    ids = nodes.add("GatherND", every, nodes.add("Transpose", kept, perm=[1, 0]))
    return _Characters(ids, owners, nodes.add("Sub", order, nodes.take(before, owners)), counts)


def _pieces(nodes: Nodes, texts: str, looked_at: int) -> tuple[str, str]:
    """``(p,)`` strings that together are the first ``looked_at`` code points of each text, and ``(p,)`` the rows they belong to."""
    size = next(size for size in range(min(_LONGEST_PIECE, looked_at), 0, -1) if looked_at % size == 0)
    every = nodes.add("Tokenizer", texts, domain=MICROSOFT, mark=0, mincharnum=1, pad_value="", tokenexp=f"(?s).{{1,{size}}}")
    pieces = nodes.add("Slice", every, [0], [looked_at // size], [1])
    real = nodes.add("LabelEncoder", pieces, domain=ML, keys_strings=[""], values_int64s=[0], default_int64=1)
    places = nodes.add("NonZero", real)
    return nodes.add("GatherND", pieces, nodes.add("Transpose", places, perm=[1, 0])), nodes.take(places, nodes.constant(0))


def _kept(nodes: Nodes, counts: str, count: str, max_length: int, *, pairs: bool) -> str:
    """``(r,)`` how many characters each text keeps; pairs are cut fairly, as the tokenizer cuts them."""
    if not pairs:
        return nodes.add("Min", counts, max_length - 2)
    room = max_length - 3
    first = nodes.add("Slice", counts, [0], count, [0])
    second = nodes.add("Slice", counts, count, [np.iinfo(np.int64).max], [0])
    kept = nodes.add("Min", first, nodes.add("Max", nodes.add("Sub", room, second), (room + 1) // 2))
    return nodes.add("Concat", kept, nodes.add("Min", second, nodes.add("Sub", room, kept)), axis=0)


def _assemble(nodes: Nodes, kept: _Characters, count: str, tokenizer: CharacterTokenizer, *, pairs: bool) -> None:
    """[CLS] before each sequence, [SEP] behind each text, padding behind the shorter sequences."""
    rows, ones = nodes.counting(nodes.add("Squeeze", count)), nodes.add("Expand", 1, count)
    first = nodes.add("Slice", kept.counts, [0], count, [0])
    starts, lengths, both = ones, nodes.add("Add", first, 2), rows
    if pairs:
        second = nodes.add("Slice", kept.counts, count, [np.iinfo(np.int64).max], [0])
        starts, both = nodes.add("Concat", ones, lengths, axis=0), nodes.add("Concat", rows, rows, axis=0)
        lengths = nodes.add("Add", nodes.add("Add", lengths, second), 1)
    longest = nodes.add("ReduceMax", lengths, keepdims=0)
    corners = nodes.add("Mul", rows, longest)  # places of [CLS] in the flat table
    begins = nodes.add("Add", nodes.add("Mul", both, longest), starts)
    inside = nodes.add("Add", nodes.take(begins, kept.owners), kept.places)
    behind = nodes.add("Add", begins, kept.counts)
    specials = [
        nodes.add("Expand", number, nodes.add("Shape", where)) for number, where in ((tokenizer.cls_id, rows), (tokenizer.sep_id, both))
    ]
    shape = nodes.add("Concat", count, nodes.add("Unsqueeze", longest, [0]), axis=0)
    empty = nodes.add("Expand", tokenizer.pad_id, nodes.add("ReduceProd", shape, keepdims=1))
    places, values = nodes.add("Concat", corners, inside, behind, axis=0), nodes.add("Concat", specials[0], kept.ids, specials[1], axis=0)
    nodes.add("Reshape", nodes.add("ScatterElements", empty, places, values, axis=0), shape, output=INPUTS[0])
    columns = nodes.counting(longest)
    used = nodes.add("Less", columns, nodes.column(lengths))
    nodes.cast(used, "int64", output=INPUTS[1])
    border = nodes.column(nodes.add("Add", first, 2)) if pairs else nodes.column(lengths)
    later = nodes.add("And", used, nodes.add("GreaterOrEqual", columns, border))
    nodes.cast(later, "int64", output=INPUTS[2])
