"""Word boundaries of Chinese text, from jieba or from rjieba, which is faster and gives the same ones.

Words are found in the folded text (simplified, half-width), because the dictionary of both is simplified. Latin letters are shown to it
in upper case: all of its words with letters are written so (T恤, IC卡, 卡拉OK). What is dropped by the tokenizer's table is not seen,
but white space still separates words. For ASCII the two packages differ, so there the rule is our own: a run of letters and digits,
with single dots inside (``iphone15``, ``3.5``, ``v9.2.14``), is one word, and every other ASCII character stands alone.

Where jieba keeps its prefix dictionary matters: by default it loads ``jieba.cache`` from the shared temporary folder, where anybody can
plant one. Ours lies in nlphub's own cache folder, and is refused where others may write to it.
"""

import functools
import importlib.util
import itertools
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from nlphub.errors import InputError
from nlphub.hub import private
from nlphub.text.encoding import Encoded, Ints
from nlphub.text.normalize import CODE_POINTS, Codes, Table, code_points, from_code_points, spaces

Segmenter = Callable[[str], list[str]]
Flags = NDArray[np.bool_]


def find_word_starts(
    segments: Sequence[str], encoded: Encoded, table: Table, *, width: int = 1, segmenter: Segmenter | None = None
) -> Flags:
    """Where words start in an encoded batch.

    Args:
        segments: ``b * width`` texts that were encoded; for pairs ``[a0, b0, a1, b1, ...]``.
        encoded: the result, ``t`` tokens.
        table: the tokenizer's normaliser.
        width: 1, or 2 for pairs.
        segmenter: splits a text into words, together the whole text; :func:`default_segmenter` by default.

    Returns:
        ``(t,)`` bool: True at the first token of each word, and at every special token.

    Raises:
        InputError: ``encoded`` was not made from these texts.
    """
    body = encoded.offsets[:, 1] > encoded.offsets[:, 0]
    shown, is_token = _shown(segments, _ends(encoded, body, width), table)
    if is_token.sum() != body.sum():
        raise InputError(f"The batch has {body.sum()} characters and these texts {is_token.sum()}; pass the texts it was made from")
    starts = np.ones(len(body), dtype=np.bool_)
    starts[body] = _boundaries(shown, segmenter or default_segmenter())[is_token]
    return starts


def find_piece_starts(segments: Sequence[str], encoded: Encoded, *, width: int = 1, segmenter: Segmenter | None = None) -> Flags:
    """Where words start in a batch whose tokens span any number of characters; arguments as those of :func:`find_word_starts`.

    Words are found in the text as it is, with full width and capitals folded. A token that reaches over the edge of a word belongs to the
    word in which it starts, and a word in which none starts has no token of its own.
    """
    body = encoded.offsets[:, 1] > encoded.offsets[:, 0]
    ends = _ends(encoded, body, width)
    if len(segments) != len(ends):
        raise InputError(f"The batch has {len(ends)} texts, not {len(segments)}; pass the texts it was made from")
    shorter = np.fromiter(map(len, segments), np.int64, len(segments)) < ends
    if shorter.any():
        raise InputError(f"text {np.flatnonzero(shorter)[0]} is shorter than its tokens reach; pass the texts the batch was made from")
    shown = _plain().codes[code_points("".join([f"{text[:end]}\n" for text, end in zip(segments, ends.tolist(), strict=True)]))]
    edges = np.cumsum(ends + 1) - ends - 1
    word = np.cumsum(_boundaries(np.where(spaces()[shown], np.uint32(10), shown), segmenter or default_segmenter()))
    segment = np.repeat(np.arange(len(encoded)), encoded.lengths) * width + encoded.types
    starts = np.ones(len(body), dtype=np.bool_)
    own = word[edges[segment[body]] + encoded.offsets[body, 0]]
    starts[body] = np.diff(own, prepend=-1) != 0
    return starts


def split_words(texts: Sequence[str], table: Table, *, segmenter: Segmenter | None = None) -> list[list[str]]:
    """The words of texts, folded by a table; white space is none.

    Args:
        segmenter: splits a text into words, together the whole text; :func:`default_segmenter` by default.
    """
    return [_split(text, table, segmenter or default_segmenter()) for text in texts]


@functools.cache
def default_segmenter() -> Segmenter:
    """rjieba where it is installed, else jieba."""
    return rjieba_segmenter() if importlib.util.find_spec("rjieba") else jieba_segmenter()


def rjieba_segmenter() -> Segmenter:
    """rjieba's own dictionary with its hidden Markov model for unknown words (in an instance of ours)."""
    import rjieba

    cut: Segmenter = rjieba.Jieba().cut
    return cut


def jieba_segmenter() -> Segmenter:
    """jieba's own dictionary with its hidden Markov model for unknown words, loaded from our own cache folder, in an instance of ours.

    Raises:
        StoreError: others may write to that folder or to the cache in it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # jieba of 2020 has invalid escapes and looks for pkg_resources
        import jieba
    tokenizer = jieba.Tokenizer()
    cache = private.cache("jieba", f"jieba-{jieba.__version__}.cache")
    tokenizer.tmp_dir, tokenizer.cache_file = str(cache.parent), cache.name
    with _quiet(logging.getLogger("jieba")):
        tokenizer.initialize()
    cut: Segmenter = tokenizer.lcut
    return cut


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """jieba reports on the standard error stream that it loads its dictionary."""
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@functools.cache
def _plain() -> Table:
    """Capitals and full width folded."""
    capitals = [(code, chr(code + 32)) for code in range(0x41, 0x5B)]
    wide = [(0x3000, " "), *((code, chr(code - 0xFEE0).lower()) for code in range(0xFF01, 0xFF5F))]
    return Table.parse("".join(f"{code:04X}\t{result}\n" for code, result in capitals + wide))


def _split(text: str, table: Table, segmenter: Segmenter) -> list[str]:
    shown, _ = _shown([text], np.array([len(text)]), table)
    whole, edges = from_code_points(shown), [*np.flatnonzero(_boundaries(shown, segmenter)).tolist(), len(shown)]
    return [word for start, end in itertools.pairwise(edges) if (word := whole[start:end].strip())]


def _ends(encoded: Encoded, body: Flags, width: int) -> Ints:
    """``(b * width,)``: where the last token of each segment ends in its text."""
    ends = np.zeros(len(encoded) * max(width, int(encoded.types.max(initial=0)) + 1), np.int64)
    segment = np.repeat(np.arange(len(encoded)), encoded.lengths) * width + encoded.types
    np.maximum.at(ends, segment[body], encoded.offsets[body, 1])
    return ends


def _shown(segments: Sequence[str], ends: Ints, table: Table) -> tuple[Codes, Flags]:
    """What the segmenter sees of a batch, segments separated by line ends, and which of its characters are tokens."""
    if len(segments) != len(ends):
        raise InputError(f"The batch has {len(ends)} texts, not {len(segments)}; pass the texts it was made from")
    codes = code_points("\n".join(text[:end] for text, end in zip(segments, ends.tolist(), strict=True)))
    folded = table.codes[codes]
    is_token = folded != CODE_POINTS
    space = ~is_token & spaces()[codes]
    shown = np.where(space, np.uint32(10), folded)
    seen = is_token | space
    return shown[seen], is_token[seen]


def _boundaries(shown: Codes, segmenter: Segmenter) -> Flags:
    """``(n,)`` bool: True where a word starts."""
    lower = (shown >= ord("a")) & (shown <= ord("z"))
    words = segmenter(from_code_points(np.where(lower, shown - 32, shown)))
    lengths = np.fromiter(map(len, words), np.int64, len(words))
    starts = np.zeros(len(shown) + 1, dtype=np.bool_)
    starts[np.cumsum(lengths) - lengths] = True
    alnum = lower | ((shown >= ord("0")) & (shown <= ord("9")))
    around = np.pad(alnum, 1)
    run = alnum | ((shown == ord(".")) & around[:-2] & around[2:])
    alone = (shown < 128) & ~run
    starts[:-1] |= alone
    starts[1:] |= alone
    starts[1:-1] &= ~(run[1:] & run[:-1])
    return starts[:-1]
