"""The strings on which a text graph is compared with its module: whatever a user or an attacker may send, the same each time."""

import random
from collections.abc import Iterator

from nlphub.text.assembly import LOOKED_AT
from nlphub.text.characters import CharacterTokenizer

_WRITTEN = (
    "", " ", "\u3000\u200b\t\n", "\x00", "a\x00b", "[MASK]", "[CLS]好[SEP]", "[PAD]", "我要退这双鞋", "转人工", "查一下我的快递到哪里了",
    "我的訂單號ABC１２還沒到", "我的订单号abc12还没到", "ＡＢＣ，。！？", "e\u0301 é", "👨‍👩‍👧 😀", "\ud800x\udfff", "\ufffd\ufffe\uffff",
    "مرحبا بك", "ไทย", "𠮷野家", "\U000e0041\u202e反", "ß ſ İ ı Σς", "'\"\\ <script>", "1" * 40, "\U0010ffff",
)  # fmt: skip
_BLOCKS = (range(0x250), range(0x4E00, 0xA000), range(0x2000, 0x3100), range(0xD700, 0xE100), range(0x1F000, 0x1FB00), range(0x110000))
_RANDOM = 120
_PAIRS = 60


def probe_texts(tokenizer: CharacterTokenizer, *, max_length: int) -> list[str]:
    """About 200 strings: written ones, random ones of the vocabulary and of all of Unicode, and those at the limits of length."""
    source = random.Random(7)
    return [*_WRITTEN, *_at_limits(tokenizer, max_length), *(_random_text(tokenizer, source) for _ in range(_RANDOM))]


def probe_pairs(tokenizer: CharacterTokenizer, *, max_length: int) -> list[tuple[str, str]]:
    """Pairs of :func:`probe_texts`: short and long ones with each other, in both orders, and those that have to be cut fairly."""
    source, texts = random.Random(8), probe_texts(tokenizer, max_length=max_length)
    room = max_length - 3
    lengths = [
        (room, 0),
        (0, room),
        (room + 1, 0),
        (room // 2, room),
        (room, room // 2),
        (room, room),
        (room // 2 + 1, room // 2 + 1),
        (1, 9 * room),
    ]
    cut = [("甲" * a, "乙" * b) for a, b in lengths]
    return [("", ""), *cut, *((source.choice(texts), source.choice(texts)) for _ in range(_PAIRS))]


def _at_limits(tokenizer: CharacterTokenizer, max_length: int) -> Iterator[str]:
    """What is just kept and what is just cut, by the network's length and by the number of code points that are looked at."""
    looked_at = LOOKED_AT * tokenizer.max_length
    for length in (max_length - 3, max_length - 2, max_length - 1, 2 * max_length):
        yield "物流" * (length // 2) + "a" * (length % 2)
    yield " " * (looked_at - 1) + "退货"  # the last character that is seen, and the first that is not
    yield " " * looked_at + "退货"
    yield "好 " * looked_at


def _random_text(tokenizer: CharacterTokenizer, source: random.Random) -> str:
    length = source.choice([1, 2, 3, 8, 20, 60])
    if source.random() < 0.5:
        return "".join(tokenizer.vocabulary[source.randrange(tokenizer.ordinary, len(tokenizer))] for _ in range(length))
    return "".join(chr(source.choice(source.choice(_BLOCKS))) for _ in range(length))
