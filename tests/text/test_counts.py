"""What tokenising and packing cost, in counts instead of seconds, so that a slow-down is seen on any machine.

Counted are the calls that code of nlphub makes: of its own functions, and of functions and methods of Python and numpy. What happens
inside those is theirs. Comprehensions and generator expressions count for nothing (some Pythons call them, others do not), and loops
without calls are seen by the number of instructions, which is only compared with itself: so nothing depends on the version of Python.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

import nlphub
from nlphub.text.characters import CharacterTokenizer
from nlphub.text.wordpiece import WordPieceTokenizer

ROOT = str(Path(nlphub.__file__).parent)
HIDDEN = {"<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>", "<lambda>"}
CHINESE = "我的快递三天了还没有到，能不能帮我查一下？"
MIXED = "我的order2024还没有到，ems查不到"

EXPECTED = {
    "characters, a batch": 56,
    "characters, one string": 16,
    "WordPiece, Chinese batch": 57,
    "WordPiece, batch with few runs of letters": 175,
    "WordPiece, batch with many runs of letters": 158,
    "WordPiece, one Chinese string": 16,
    "WordPiece, one string with letters, seen before": 36,
    "packing": 10,
}
"""Calls of each way. When a change of the code is meant to change one, write the new figure here; a higher one needs a reason."""


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Calls made from files of nlphub, by name."""
    found: Counter[str] = Counter()

    def hook(frame: FrameType, event: str, argument: Any) -> None:
        name = frame.f_code.co_name
        if event == "call" and frame.f_back is not None and _ours(frame.f_back):
            if name not in HIDDEN and (_ours(frame) or not (name.startswith("_") or name.endswith("_dispatcher"))):
                found[name] += 1
        elif event == "c_call" and _ours(frame):
            found[getattr(argument, "__qualname__", repr(argument))] += 1

    before = sys.getprofile()
    sys.setprofile(hook)
    try:
        yield found
    finally:
        sys.setprofile(before)


def _ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(ROOT)


def calls(work: Callable[[], object]) -> Counter[str]:
    """Of one run, after one that makes what is made once."""
    work()
    with counted() as found:
        work()
    return found


@pytest.fixture(scope="module")
def wordpiece() -> WordPieceTokenizer:
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return WordPieceTokenizer(
        [*special, *sorted(set(CHINESE)), *letters, *(f"##{letter}" for letter in letters), "or", "##der", "20", "##24", "em"]
    )


def runs(count: int) -> list[str]:
    """Texts with a run of six letters each, all different."""
    return [f"我的{number:06d}到了" for number in range(count)]


def ways(characters: CharacterTokenizer, wordpiece: WordPieceTokenizer) -> dict[str, Callable[[], object]]:
    from nlphub.data.batching import pack

    encoded = wordpiece.encode([CHINESE[: 2 + number % 7] for number in range(64)])
    return {
        "characters, a batch": lambda: characters.encode([CHINESE] * 64),
        "characters, one string": lambda: characters.encode([CHINESE]),
        "WordPiece, Chinese batch": lambda: wordpiece.encode([CHINESE] * 64),
        "WordPiece, batch with few runs of letters": lambda: wordpiece.encode([CHINESE, MIXED] * 8),
        "WordPiece, batch with many runs of letters": lambda: wordpiece.encode(runs(200)),
        "WordPiece, one Chinese string": lambda: wordpiece.encode([CHINESE]),
        "WordPiece, one string with letters, seen before": lambda: wordpiece.encode([MIXED]),
        "packing": lambda: pack(encoded, np.arange(64)),
    }


def test_calls_are_as_many_as_expected(zh_char: CharacterTokenizer, wordpiece: WordPieceTokenizer) -> None:
    found = {name: calls(work) for name, work in ways(zh_char, wordpiece).items()}
    wrong = {name: sum(counts.values()) for name, counts in found.items() if sum(counts.values()) != EXPECTED[name]}
    details = "\n".join(f"{name}: {EXPECTED[name]} calls expected, {total} made: {dict(found[name])}" for name, total in wrong.items())
    assert not wrong, f"{details}\nIf that is meant to be so, write the new figures into EXPECTED of {Path(__file__).name}."


@contextmanager
def instructions() -> Iterator[list[int]]:
    """How many bytecode instructions run in files of nlphub."""
    total = [0]

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = _ours(frame), False
            return trace
        total[0] += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield total
    finally:
        sys.settrace(before)


def ran(work: Callable[[], object]) -> int:
    """Instructions of one run, after one that makes what is made once."""
    work()
    with instructions() as total:
        work()
    return total[0]


@pytest.mark.parametrize("kind", ["characters", "wordpiece"])
def test_a_longer_chinese_batch_takes_not_one_instruction_more(
    kind: str, zh_char: CharacterTokenizer, wordpiece: WordPieceTokenizer
) -> None:
    tokenizer = {"characters": zh_char, "wordpiece": wordpiece}[kind]
    few, many, long = (ran(lambda texts=texts: tokenizer.encode(texts)) for texts in ([CHINESE] * 4, [CHINESE] * 400, [CHINESE * 10] * 4))
    assert few == many == long, (
        f"a loop in Python over texts or characters: {few} instructions for 4 texts, {many} for 400, {long} for long ones"
    )
    pairs = [ran(lambda count=count: tokenizer.encode([CHINESE] * count, [CHINESE] * count)) for count in (4, 400)]
    assert pairs[0] == pairs[1]


def test_more_words_of_letters_take_no_more_instructions(wordpiece: WordPieceTokenizer) -> None:
    few, many = (ran(lambda texts=texts: wordpiece.encode(texts)) for texts in (runs(300), runs(3000)))
    assert many <= 1.2 * few, f"{few} instructions for 300 words, {many} for 3000"  # a crowded place in the hash table is looked at again


def test_packing_takes_as_many_instructions_for_every_batch(wordpiece: WordPieceTokenizer) -> None:
    from nlphub.data.batching import pack

    encoded = wordpiece.encode([CHINESE] * 400)
    few, many = (ran(lambda count=count: pack(encoded, np.arange(count))) for count in (4, 400))
    assert few == many


def test_the_counters_see_a_loop(zh_char: CharacterTokenizer) -> None:
    few, many = (ran(lambda count=count: zh_char.decode([100] * count)) for count in (10, 20))
    assert many > few
    assert calls(lambda: zh_char.encode([CHINESE]))["encode_one"] == 1
