"""Normaliser and tokenizer as a standard ONNX graph: com.microsoft.Tokenizer, then ai.onnx.ml.LabelEncoder.

``tokenexp`` is the character class of what the table keeps, so each kept character is one string; LabelEncoder maps every code point
that ends in the vocabulary straight to its id, and all others to [UNK]. What differs from ``CharacterTokenizer.encode``:

- strings enter onnxruntime as UTF-8, so lone surrogates become U+FFFD before the graph (both end in [UNK]);
- the graph pads to the longest text of the batch and neither truncates nor caps, so texts here fit into 512 tokens;
- a batch in which nothing is kept has the shape (b, 0) without [CLS] and [SEP]: add one text that keeps a character.
"""

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nlphub.text.characters import CharacterTokenizer
from nlphub.text.normalize import CODE_POINTS

ROOT = Path(__file__).resolve().parents[2]
Graph = Callable[[list[str]], list[list[int]]]


def character_class(tokenizer: CharacterTokenizer) -> str:
    """What is not dropped, as a negated class of ranges."""
    dropped = np.flatnonzero(tokenizer.table.codes == CODE_POINTS)
    runs = np.split(dropped, np.flatnonzero(np.diff(dropped) != 1) + 1)
    return "[^" + "".join(f"\\x{{{run[0]:x}}}-\\x{{{run[-1]:x}}}" for run in runs) + "]"


def labels(tokenizer: CharacterTokenizer) -> dict[str, int]:
    """Every code point that ends in the vocabulary -> its id, and the marks that the Tokenizer operator adds."""
    ids = {entry: i for i, entry in enumerate(tokenizer.vocabulary)}
    found = {"\x02": tokenizer.cls_id, "\x03": tokenizer.sep_id, "[PAD]": tokenizer.pad_id}
    for code, folded in enumerate(tokenizer.table.codes.tolist()):
        if folded != CODE_POINTS and chr(folded) in ids:
            found[chr(code)] = ids[chr(folded)]
    return found


@pytest.fixture(scope="module")
def graph(zh_char: CharacterTokenizer) -> Graph:
    import onnxruntime
    from onnx import TensorProto, helper

    table, kept = labels(zh_char), character_class(zh_char)
    nodes = [
        helper.make_node(
            "Tokenizer", ["text"], ["characters"], domain="com.microsoft", mark=1, mincharnum=1, pad_value="[PAD]", tokenexp=kept
        ),
        helper.make_node(
            "LabelEncoder", ["characters"], ["ids"], domain="ai.onnx.ml",
            keys_strings=list(table), values_int64s=list(table.values()), default_int64=zh_char.unknown_id,
        ),
    ]  # fmt: skip
    text = helper.make_tensor_value_info("text", TensorProto.STRING, ["b"])
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["b", "s"])
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1), helper.make_opsetid("ai.onnx.ml", 4)]
    model = helper.make_model(helper.make_graph(nodes, "tokenizer", [text], [ids]), opset_imports=opsets, ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def run(texts: list[str]) -> list[list[int]]:
        clean = ["".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text) for text in [*texts, "好"]]
        rows = session.run(None, {"text": np.array(clean, dtype=object)})[0].tolist()
        return [[i for i in row if i != zh_char.pad_id] for row in rows[:-1]]

    return run


def test_golden_texts_get_equal_ids(zh_char: CharacterTokenizer, graph: Graph) -> None:
    golden = [json.loads(line) for line in (ROOT / "tokenizers" / "zh_char" / "golden.jsonl").read_text(encoding="utf-8").splitlines()]
    assert graph([row["text"] for row in golden]) == [row["ids"] for row in golden]


def test_every_code_point_gets_an_equal_id(zh_char: CharacterTokenizer, graph: Graph) -> None:
    texts = ["".join(map(chr, range(first, first + 256))) for first in range(0, CODE_POINTS, 256)]
    assert graph(texts) == zh_char.encode(texts).lists()


def test_thousands_of_random_strings_get_equal_ids(zh_char: CharacterTokenizer, graph: Graph) -> None:
    source = random.Random(5)
    blocks = [
        range(0x250),
        range(0x4E00, 0xA000),
        range(0x2000, 0x3100),
        range(0xD700, 0xE100),
        range(0x1F000, 0x1FB00),
        range(CODE_POINTS),
    ]
    texts = ["".join(chr(source.choice(source.choice(blocks))) for _ in range(source.choice([0, 1, 3, 20, 60]))) for _ in range(3000)]
    assert any("\x00" in text for text in texts)
    for first in range(0, len(texts), 500):
        assert graph(texts[first : first + 500]) == zh_char.encode(texts[first : first + 500]).lists()
