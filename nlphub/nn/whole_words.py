"""Whole words where a text says ``[MASK][MASK]``: fill-mask over several characters at once.

The characters of a word depend on each other, so the best one of each mask by itself makes no word. Here a word's score is the probability
``p(c1 | text) * p(c2 | text, c1) * ...``: its masks are filled from left to right, each with those before it in place, and the ``beam``
best beginnings go on. With a beam as wide as the vocabulary the search is exact for two characters.

Notation: ``g`` gaps (runs of ``[MASK]``) to be filled, ``h`` beginnings of words in all of them, ``n`` entries that can stand in a text.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nlphub.data.apart import take
from nlphub.errors import InputError
from nlphub.nn.encoder import Encoder
from nlphub.nn.heads import Head
from nlphub.nn.inference import head_logits
from nlphub.tasks.fill_mask import FilledMask, FilledText, FillMaskTask, candidates
from nlphub.text.blanks import GAP, WIDTH
from nlphub.text.encoding import Encoded, Ints
from nlphub.text.tokenizers import Tokenizer

BEAM = 16
_ROWS = 256  # beginnings that are looked at together: their logits take 256 x vocabulary x 8 bytes

Floats = NDArray[np.float64]
Ranked = list[tuple[str, float, float]]  # words, their probabilities, and what they are ranked by


class WordsModule(Protocol):
    """What is needed of a :class:`nlphub.Module` of task mlm."""

    @property
    def encoder(self) -> Encoder: ...
    @property
    def task_head(self) -> Head: ...
    @property
    def tokenizer(self) -> Tokenizer: ...
    @property
    def max_length(self) -> int: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Gaps:
    """Gaps of the same number of masks.

    Attributes:
        encoded: ``g`` texts.
        places: ``(g, masks)`` which tokens of its text are a gap's masks.
    """

    encoded: Encoded
    places: Ints


def fill_words(
    module: WordsModule, texts: str | Sequence[str], *, top_k: int = 5, beam: int = BEAM, lengths: Sequence[int] | None = None
) -> list[FilledText]:
    """The most probable words of each gap, a run of ``[MASK]`` in a text, with their joint probabilities.

        hub.fill_words(hub.Module(name="ernie_tiny", task="mlm"), "我想[MASK][MASK]这双鞋")

    A gap stands for as many tokens as it has masks. Gaps with something between them are words of their own; each is filled as if the
    others stayed masks.

    Args:
        module: of task mlm.
        texts: each with at least one ``[MASK]``, in either case; a single string counts as a list of one.
        top_k: how many words an answer holds, at most.
        beam: how many beginnings go on from one mask to the next; at least ``top_k`` do.
        lengths: of words in tokens, e.g. ``(1, 2, 3)``: then every gap that is a single ``[MASK]`` stands for a word of any of these
            lengths. Words of several lengths are ranked by the mean of the logarithms of their tokens' probabilities, since the longer
            of two words nearly always has the smaller probability; ``score`` is the probability itself.

    Returns:
        One :class:`~nlphub.FilledText` for each text; its ``masks`` are the gaps.

    Raises:
        InputError: the module is of another task; texts without a mask, or with one that is not read; numbers that are not positive.
    """
    require_words(module)
    wanted = _checked(top_k, beam, lengths)
    given = FillMaskTask().read(texts, module.tokenizer, max_length=module.max_length).texts  # refuses what cannot be filled
    asked = [(number, place) for number, text in enumerate(given) for place, _ in enumerate(GAP.finditer(text))]
    found: dict[tuple[int, int], Ranked] = {gap: [] for gap in asked}
    for size, gaps in sorted(_by_size(given, wanted).items()):
        read = _read(module, given, gaps, size)
        for gap, ranked in zip(gaps, _searched(module, read, beam=max(beam, top_k)), strict=True):
            found[gap] += ranked
    return [_answer(text, [found[number, place] for place, _ in enumerate(GAP.finditer(text))], top_k) for number, text in enumerate(given)]


def require_words(module: WordsModule) -> None:
    """Check that a module answers with words.

    Raises:
        InputError: it has a head of another task.
    """
    if not module.task_head.answers_words:
        raise InputError(f"task {module.task_head.task!r} knows no words; use a module of mlm: hub.Module(name='ernie_tiny', task='mlm')")


def log_softmax(logits: NDArray[np.floating]) -> Floats:
    """Logarithms of probabilities, of rows ``(r, n)``, in float64."""
    exact = logits.astype(np.float64)
    exact -= exact.max(axis=1, keepdims=True)
    return np.asarray(exact - np.log(np.exp(exact).sum(axis=1, keepdims=True)))


def _checked(top_k: int, beam: int, lengths: Sequence[int] | None) -> tuple[int, ...]:
    numbers = {"top_k": [top_k], "beam": [beam], "lengths": [1] if lengths is None else list(lengths)}
    wrong = [
        f"{name}={value!r} must be a whole number of at least 1" for name, row in numbers.items() for value in row if not _counts(value)
    ]
    if wrong or not numbers["lengths"]:
        raise InputError(
            "Words cannot be looked for like this:", wrong or ["lengths is empty; leave it out, or give e.g. lengths=(1, 2, 3)"]
        )
    return tuple(sorted({*numbers["lengths"]}))


def _counts(value: Any) -> bool:
    return type(value) is int and value >= 1


def _by_size(texts: Sequence[str], lengths: tuple[int, ...]) -> dict[int, list[tuple[int, int]]]:
    """Number of masks -> the gaps, as number of the text and place among its gaps, that are filled with so many tokens."""
    sizes: dict[int, list[tuple[int, int]]] = {}
    for number, text in enumerate(texts):
        for place, gap in enumerate(GAP.finditer(text)):
            written = len(gap[0]) // WIDTH
            for size in lengths if written == 1 else (written,):
                sizes.setdefault(size, []).append((number, place))
    return sizes


def _read(module: WordsModule, texts: Sequence[str], gaps: Sequence[tuple[int, int]], size: int) -> _Gaps:
    """The texts of gaps, each written with ``size`` masks.

    Raises:
        InputError: some of the masks are behind what is read.
    """
    written, before = zip(*(_rewritten(texts[number], place, size) for number, place in gaps), strict=True)
    inputs = FillMaskTask().read(list(written), module.tokenizer, max_length=module.max_length)
    masks, starts = np.flatnonzero(inputs.masks), inputs.encoded.starts[:-1]
    first = np.searchsorted(masks, starts) + np.array(before)
    return _Gaps(inputs.encoded, masks[first[:, None] + np.arange(size)] - starts[:, None])


def _rewritten(text: str, place: int, size: int) -> tuple[str, int]:
    """The text with ``size`` masks in one of its gaps, and how many masks stand before it."""
    gap = list(GAP.finditer(text))[place]
    before = sum(len(one[0]) // WIDTH for one in list(GAP.finditer(text))[:place])
    return text[: gap.start()] + "[MASK]" * size + text[gap.end() :], before


def _searched(module: WordsModule, gaps: _Gaps, *, beam: int) -> Iterator[Ranked]:
    """The ``beam`` best words of each gap, best first."""
    ids, many = candidates(module.tokenizer.vocabulary), max(1, _ROWS // beam)
    for first in range(0, len(gaps.places), many):
        rows = np.arange(first, min(first + many, len(gaps.places)))
        part = _Gaps(take(gaps.encoded, rows), gaps.places[rows])
        owner, words, scores = np.arange(len(rows)), np.zeros((len(rows), 0), np.int64), np.zeros(len(rows))
        for _ in range(part.places.shape[1]):
            owner, words, scores = _longer(module, part, owner, words, scores, ids=ids, beam=beam)
        for row in range(len(rows)):
            yield [
                (module.tokenizer.decode(word), float(np.exp(score)), float(score) / len(word))
                for word, score in zip(words[owner == row], scores[owner == row], strict=True)
            ]


def _longer(
    module: WordsModule, gaps: _Gaps, owner: Ints, words: Ints, scores: Floats, *, ids: Ints, beam: int
) -> tuple[Ints, Ints, Floats]:
    """Beginnings that are one token longer: ``(h,)`` their gaps, ascending, ``(h, tokens)`` ids and ``(h,)`` log-probabilities, best first.

    Equal ones keep the order of their beginnings, then that of the vocabulary.
    """
    asked, mask = _with_beginnings(gaps, owner, words)
    told = np.zeros(len(asked.ids), np.bool_)
    told[mask] = True
    added = log_softmax(head_logits(module.encoder, module.task_head, asked, told)[:, ids])
    best = np.argsort(-added, axis=1, kind="stable")[:, :beam]  # no other token of a beginning can be among the best of its gap
    total = (scores[:, None] + np.take_along_axis(added, best, 1)).ravel()
    came = np.repeat(np.arange(len(owner)), best.shape[1])
    order = np.lexsort((np.arange(len(total)), -total, owner[came]))
    gap = owner[came[order]]
    kept = order[np.arange(len(order)) - np.searchsorted(gap, gap) < beam]
    longer = np.concatenate([words[came[kept]], ids[best.ravel()[kept]][:, None]], axis=1)
    return owner[came[kept]], longer, total[kept]


def _with_beginnings(gaps: _Gaps, owner: Ints, words: Ints) -> tuple[Encoded, Ints]:
    """The text of each beginning with it in place, and ``(h,)`` the token that is the next mask."""
    texts = take(gaps.encoded, owner)
    places = texts.starts[:-1, None] + gaps.places[owner]
    ids, done = texts.ids.copy(), words.shape[1]
    ids[places[:, :done]] = words
    return replace(texts, ids=ids), places[:, done]


def _answer(text: str, gaps: Sequence[Ranked], top_k: int) -> FilledText:
    tops = [tuple((word, score) for word, score, _ in sorted(ranked, key=lambda one: -one[2])[:top_k]) for ranked in gaps]
    starts = [gap.start() for gap in GAP.finditer(text)]
    words = iter(top[0][0] for top in tops)
    masks = tuple(FilledMask(start, *top[0], top) for start, top in zip(starts, tops, strict=True))
    return FilledText(GAP.sub(lambda _: next(words), text), masks)
