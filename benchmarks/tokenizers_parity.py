"""WordPiece against the libraries `tokenizers` and `transformers`: ids and offsets of many real and random strings, and the speed.

python benchmarks/tokenizers_parity.py --texts 200000                      random strings
NLPHUB_DATA=... python benchmarks/tokenizers_parity.py --texts 200000      half of them real lines
"""

import argparse
import json
import lzma
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import transformers

from nlphub import paths
from nlphub.text.wordpiece import WordPieceTokenizer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SEEDS = "我爱中国，今天天气真好！iPhone15 多少钱？ Hello world, é à 한국 のカタ ☆①½"
BATCH = 2000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=2000)
    count = parser.parse_args().texts
    real = list(islice(real_lines(), count // 2))
    texts = real + list(random_strings(count - len(real), near="".join(real[:500]) or SEEDS))
    vocabulary = made_vocabulary(texts)
    wrong, ours, theirs = compare(texts, vocabulary)
    print(f"{len(texts):,} strings ({len(real):,} real), vocabulary of {len(vocabulary):,}: {wrong} differ in ids or offsets")
    print(f"nlphub {len(texts) / ours:,.0f} texts/s, tokenizers {len(texts) / theirs:,.0f} texts/s")
    return int(wrong > 0)


def real_lines() -> Iterator[str]:
    """Texts of the labelled sets of NLPHUB_DATA, without those that hold a special entry."""
    folder = paths.real_data()
    for path in sorted(folder.glob("labelled/*/*.jsonl.xz")) if folder else []:
        with lzma.open(path, "rt", encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                yield row.get("text") or "".join(row.get("tokens", []))


def random_strings(count: int, *, near: str, seed: int = 0) -> Iterator[str]:
    """Strings of characters that are near, or from anywhere in Unicode."""
    chance = random.Random(seed)
    for _ in range(count):
        anywhere = (chance.randrange(0xE000, 0x110000) if chance.random() < 0.3 else chance.randrange(0xD800) for _ in range(8))
        parts = [chance.choice(near) for _ in range(chance.randrange(30))] + [chr(code) for code in anywhere if chance.random() < 0.4]
        chance.shuffle(parts)
        yield "".join(parts)


def made_vocabulary(texts: Sequence[str]) -> list[str]:
    """Frequent characters, and pieces of frequent Latin words."""
    characters = [character for character, _ in Counter("".join(texts).lower()).most_common(6000) if not character.isspace()]
    words = Counter(word for text in texts for word in text.lower().split() if word.isascii() and word.isalpha())
    pieces = [piece for word, _ in words.most_common(3000) for piece in (word[:3], f"##{word[3:]}" if word[3:] else "", f"##{word[-1]}")]
    return [*SPECIAL, *dict.fromkeys(piece for piece in [*characters, *pieces] if piece)]


def compare(texts: Sequence[str], vocabulary: Sequence[str]) -> tuple[int, float, float]:
    """Texts that differ, and the seconds of both."""
    tokenizer, other = WordPieceTokenizer(vocabulary), oracle(vocabulary)
    wrong, ours, theirs = 0, 0.0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "vocab.txt").write_text("\n".join(vocabulary) + "\n", "utf-8")
        third = transformers.BertTokenizer(str(Path(folder) / "vocab.txt"), do_lower_case=True)
    for start in range(0, len(texts), BATCH):
        batch = [text for text in texts[start : start + BATCH] if not any(entry in text for entry in SPECIAL)]
        before = time.perf_counter()
        encoded = tokenizer.encode(batch)
        between = time.perf_counter()
        found = other.encode_batch(batch)
        ours, theirs = ours + between - before, theirs + time.perf_counter() - between
        same = third(batch, truncation=True, max_length=512)["input_ids"]
        for number, (one, ids, whole) in enumerate(zip(found, encoded.lists(), same, strict=True)):
            spans = encoded.offsets[encoded.starts[number] + 1 : encoded.starts[number + 1] - 1].tolist()
            wrong += ids != whole or (one.ids[:510], [list(span) for span in one.offsets[:510]]) != (ids[1:-1], spans)
    return wrong, ours, theirs


def oracle(vocabulary: Sequence[str]) -> Tokenizer:
    """BERT's pipeline in the library `tokenizers`."""
    entries = {entry: number for number, entry in enumerate(vocabulary)}
    found = Tokenizer(models.WordPiece(entries, unk_token="[UNK]", max_input_chars_per_word=100))
    found.normalizer = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True)
    found.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return found


if __name__ == "__main__":
    sys.exit(main())
