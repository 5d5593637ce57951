"""Tokenising: batches and single strings beside `tokenizers`, `transformers`, SentencePiece and jieba, ids compared on every string.

Every round reads texts with runs of letters that nobody has seen before, and our batch path remembers no words: its cache is cold. Single
strings are as customers write them, read again in every round, and in one row with runs never seen. What a tokenizer makes once is made
before. ``flat`` is what the network takes (ids, types, offsets and row starts as arrays), ``lists`` one Python list for each text. A peer's
rows are lists of ids in both; it does no more than that.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from nlphub.text.encoding import Encoded
from speeds import tokenizing_peers as peers
from speeds.rows import Bar, Options, Row, missing
from speeds.texts import texts_of
from speeds.timing import Clock, Timings, Variant, interleaved
from speeds.tokenizing_texts import RUN, chinese_only, with_runs

FAST = "tokenizers"
FLAT, LISTS = "flat", "lists"
COLD, TOLD = "WordPiece with a run never seen", "SentencePiece with offsets"
ALONE = 40  # turns of single strings
BARS = {
    ("mixed", FLAT): Bar("mixed text, cold cache, flat: >= 10x encode_batch_fast", 10),
    ("mixed", LISTS): Bar("mixed text, cold cache, as lists: >= 6x encode_batch_fast", 6),
    ("chinese", FLAT): Bar("Chinese text: >= 20x encode_batch_fast", 20),
}
ONE = Bar("one string in <= 10 microseconds", 10, kind="most", of="ours")
EQUAL = Bar("ids equal on every string", 0, kind="most", of="ours")

Encode = Callable[[Sequence[str]], Encoded]
Lists = Callable[[Sequence[str]], list[list[int]]]


@dataclass(frozen=True, slots=True)
class Rival:
    """A tokenizer of ours, what it is compared with, and the texts: one list for each turn."""

    name: str
    kind: str
    ours: Encode
    theirs: Mapping[str, Lists]
    turns: Sequence[list[str]]


def run(options: Options) -> list[Row]:
    """Rows of WordPiece on mixed and Chinese text, of the other tokenizers, of single strings and of word boundaries."""
    rounds = options.rounds or (5 if options.quick else 9)
    turns = [given(options, turn) for turn in range(rounds + 1)]
    made = peers.Made(sorted({text for turn in turns for text in turn}))
    mixed, chinese = [with_runs(turn, 2, seed=number) for number, turn in enumerate(turns)], [chinese_only(turn) for turn in turns]
    words = made.word_piece_peers()
    if options.quick:
        words = {FAST: words[FAST]}
    rivals = [
        Rival("WordPiece", "mixed", made.wordpiece.encode, words, mixed),
        Rival("WordPiece", "chinese", made.wordpiece.encode, words, chinese),
        Rival("characters", "chinese", made.characters.encode, made.character_peers(), [made.folded(turn) for turn in chinese]),
    ]
    if not options.quick:
        dense = [with_runs(turn, 1, seed=number) for number, turn in enumerate(turns)]
        rivals.append(Rival("WordPiece", "a run in every text", made.wordpiece.encode, words, dense))
    rows = [row for rival in rivals for row in compare(rival, rounds)] + alone(made, turns[0], quick=options.quick)
    return rows if options.quick else rows + subwords(made, turns, rounds) + boundaries(made, turns, rounds)


def given(options: Options, turn: int) -> list[str]:
    """The texts of one turn; another seed, another choice."""
    lengths = next(iter(options.lengths), "service")
    return texts_of(lengths, 2500 if options.quick else 10000, options.data, seed=turn)


def compare(rival: Rival, rounds: int) -> list[Row]:
    """Our flat and list results beside each peer on one kind of text."""
    variants = {
        FLAT: over(rival.turns, rival.ours),
        LISTS: over(rival.turns, lambda texts: rival.ours(texts).lists()),
        **{name: over(rival.turns, lists) for name, lists in rival.theirs.items()},
    }
    times = interleaved(variants, rounds)
    rows = [row_of(rival, times, form, peer) for peer in rival.theirs for form in ((FLAT, LISTS) if peer == FAST else (FLAT,))]
    return [*rows, equal(rival)]


def over(turns: Sequence[list[str]], encode: Callable[[Sequence[str]], object]) -> Variant:
    """One turn after the other; the unit of work is a character."""
    left: Iterator[list[str]] = iter(turns)

    def run() -> float:
        texts = next(left)
        encode(texts)
        return sum(map(len, texts))

    return run


def row_of(rival: Rival, times: Timings, form: str, peer: str) -> Row:
    """One line. What uses several threads is compared by wall time, all else by processor time."""
    clock: Clock = "wall" if peer.endswith("threads") else "cpu"
    bars = [BARS[rival.kind, form]] if peer == FAST and (rival.kind, form) in BARS else []
    return Row(
        f"tokenize {rival.name} {rival.kind}, {form}, {peer}", times.rate(form, clock, units=1e-6), times.rate(peer, clock, units=1e-6),
        times.ratio(form, peer, clock), f"Mchar/{clock}-s", settings(rival.turns[0]), tuple(bars),
    )  # fmt: skip


def equal(rival: Rival) -> Row:
    """How many texts of all turns have other ids than the peer's."""
    texts = [text for turn in rival.turns for text in turn]
    pairs = zip(rival.ours(texts).lists(), rival.theirs[FAST](texts), strict=True)
    wrong = sum(mine != theirs for mine, theirs in pairs)
    return Row(f"tokenize {rival.name} {rival.kind}, other ids", wrong, 0, None, "strings", f"of {len(texts):,} strings", (EQUAL,))


def alone(made: peers.Made, given: Sequence[str], *, quick: bool) -> list[Row]:
    """Single strings of 15 to 25 characters, one call each: as customers write them, and with a run of letters that was never seen.

    Times are those of the fastest of many short turns: so few microseconds are disturbed by all that the machine does besides.
    """
    usual = [text for text in given if 15 <= len(text) <= 25][:100]
    cold = [[text for text in with_runs(usual, 1, seed=turn) if RUN.search(text)] for turn in range(ALONE + 1)]
    ours = {"characters": made.characters.encode, "WordPiece": made.wordpiece.encode, "WordPiece of ERNIE": made.ernie.encode}
    rivals = dict.fromkeys(ours, FAST) | {COLD: f"{FAST}, {COLD}"}
    variants = {FAST: one_by_one([usual], made.one_of_peer()), rivals[COLD]: one_by_one(cold, made.one_of_peer())}
    variants[COLD] = one_by_one(cold, lambda text: made.wordpiece.encode([text]))
    if not quick:
        told = made.sentencepiece_peers()[TOLD]
        ours |= {"sub-words": made.plain_subword.encode, "words and sub-words": made.subword.encode}
        rivals |= {"sub-words": TOLD, "words and sub-words": TOLD}
        variants[TOLD] = one_by_one([usual], lambda text: told([text]))
    variants |= {name: one_by_one([usual], lambda text, encode=encode: encode([text])) for name, encode in ours.items()}
    times = interleaved(variants, ALONE)
    best = {name: 1e6 * min(turn.cpu for turn in turns) for name, turns in times.turns.items()}
    return [
        Row(f"tokenize one string, {name}, {peer.removesuffix(f', {COLD}')}", best[name], best[peer], times.ratio(name, peer), "us",
            f"{len(usual)} strings of 15 to 25 characters, one call each; fastest of {ALONE} turns", (ONE,) if peer == FAST else ())
        for name, peer in rivals.items()
    ]  # fmt: skip


def one_by_one(turns: Sequence[Sequence[str]], encode: Callable[[str], object]) -> Variant:
    """One list of strings after the other, each string by itself."""
    left = itertools.cycle(turns)

    def run() -> float:
        texts = next(left)
        for text in texts:
            encode(text)
        return len(texts)

    return run


def subwords(made: peers.Made, turns: Sequence[list[str]], rounds: int) -> list[Row]:
    """Baidu's two steps and SentencePiece alone, beside SentencePiece's own ids and its own ids with offsets."""
    rows = []
    for name, tokenizer in (("sub-words", made.plain_subword), ("words and sub-words", made.subword)):
        rival = Rival(
            name, "mixed", tokenizer.encode, made.sentencepiece_peers(), [with_runs(turn, 2, seed=n) for n, turn in enumerate(turns)]
        )
        variants = {FLAT: over(rival.turns, rival.ours), **{peer: over(rival.turns, lists) for peer, lists in rival.theirs.items()}}
        times = interleaved(variants, rounds)
        rows += [row_of(rival, times, FLAT, peer) for peer in rival.theirs]
    return rows


def boundaries(made: peers.Made, turns: Sequence[list[str]], rounds: int) -> list[Row]:
    """Word boundaries of an encoded batch, which masking needs, beside the segmenters themselves."""
    encoded = {id(turn): made.wordpiece.encode(turn) for turn in turns}
    variants: dict[str, Variant] = {"words": over(turns, lambda texts: made.wordpiece.words(texts, encoded[id(texts)]))}
    variants["flat"] = over(turns, made.wordpiece.encode)
    cutters: dict[str, Any] = made.segmenters()
    variants |= {name: over(turns, lambda texts, cut=cut: [cut(text) for text in texts]) for name, cut in cutters.items()}
    times = interleaved(variants, rounds)
    rows = [missing("tokenize words, rjieba", "rjieba is not installed: pip install rjieba")] if "rjieba" not in cutters else []
    for name in cutters:
        for form, what in (("words", "word boundaries"), ("flat", "WordPiece flat")):
            rates = times.rate(form, units=1e-6), times.rate(name, units=1e-6)
            rows.append(Row(f"tokenize {what}, {name}", *rates, times.ratio(form, name), "Mchar/cpu-s", settings(turns[0])))
    return rows


def settings(texts: Sequence[str]) -> str:
    mean = sum(map(len, texts)) / len(texts)
    return f"{len(texts):,} texts of {mean:.1f} characters in one batch, cold cache, one thread; tokenizers {version('tokenizers')}"
