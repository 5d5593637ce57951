"""On real Chinese text, where NLPHUB_DATA names it: little is unknown to the tokenizer, and every token knows its place."""

import json
import lzma
from pathlib import Path

import numpy as np
import pytest

from nlphub import paths
from nlphub.text.tokenizers import load_tokenizer

SETS = ("smp2017_ecdt", "cic", "chnsenticorp", "cluener")


@pytest.mark.real_data
@pytest.mark.parametrize("name", SETS)
def test_real_text_is_known_and_offsets_point_at_it(name: str) -> None:
    folder = paths.real_data()
    if folder is None:
        pytest.skip("NLPHUB_DATA is not set: this test reads the labelled sets of a folder of real data")
    with lzma.open(folder / "labelled" / name / "dev.jsonl.xz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    texts = [row.get("text") or "".join(row["tokens"]) for row in rows]
    tokenizer = load_tokenizer(Path(__file__).parents[1] / "tokenizers" / "zh_char")
    encoded = tokenizer.encode(texts)
    assert np.mean(encoded.ids == tokenizer.unknown_id) < 1e-3
    for number in range(0, len(texts), 97):
        rows_of_text = slice(encoded.starts[number] + 1, encoded.starts[number + 1] - 1)
        pieces = [texts[number][start:end] for start, end in encoded.offsets[rows_of_text]]
        shown = "".join(tokenizer.vocabulary[index] for index in encoded.ids[rows_of_text])
        assert tokenizer.table.normalize("".join(pieces)) == shown or "[UNK]" in shown
