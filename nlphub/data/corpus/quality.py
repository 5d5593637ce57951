"""Which lines and documents are worth reading: a handful of rules with one threshold each, every rejection counted by its reason.

The rules are those of Gopher (Rae et al. 2021, table A1) and C4 (Raffel et al. 2020, section 2.2) as far as they say something about
Chinese text, in characters instead of words.
"""

import re
from dataclasses import dataclass

import numpy as np

from nlphub.data.corpus import counts
from nlphub.data.corpus.batch import Batch, Flags, edges_of, hashes, ngrams, sums
from nlphub.data.corpus.counts import Counts
from nlphub.text.encoding import Ints
from nlphub.text.normalize import Codes, code_points

_BOILERPLATE = re.compile(
    r"版权所有|翻印必究|未经.{0,12}(?:许可|授权|允许).{0,8}(?:转载|复制|摘编|镜像)|转载.{0,6}(?:注明|联系|授权)|责任编辑[:：]|ICP[备证]|公网安备|"
    r"点击(?:这里|此处|链接|关注|阅读)|长按.{0,6}二维码|(?:扫描?|识别)(?:上方|下方|左侧|右侧|以下|文末|图中).{0,4}二维码|关注.{0,8}公众号|阅读原文|"
    r"^[上下]一[篇页章]|返回(?:首页|顶部|目录)|查看更多|展开全文|登录后(?:查看|可见|才能|评论)|免责声明[:：]|"
    r"请启用JavaScript|All [Rr]ights [Rr]eserved"
)
_MARKS = re.compile("锟斤拷|烫烫烫|屯屯屯|锘匡豢|ï»¿")
_MISREAD = code_points(
    "锛銆鐨勬鏄鍦涓浜鍚"
)  # what UTF-8 of ，。的是在中人同 looks like as GBK; some are characters of their own, hence a share
_HAN = ((0x3007, 0x3008), (0x3400, 0x4DC0), (0x4E00, 0xA000), (0x20000, 0x323B0))


@dataclass(frozen=True, slots=True)
class Rules:
    """Thresholds; shares are of normalised characters.

    Attributes:
        garbled: a line goes with a larger share of characters that only a wrong encoding makes.
        repeated: a line of 10 characters goes with a larger share of characters equal to one of the two before them.
        han: a line goes with a smaller share of Han characters.
        boilerplate: a line of at most so many characters goes if it holds a phrase of page furniture.
        repeated_line: a line of at least so many characters goes if the document has had it.
        short: a document goes with fewer characters.
        repetitive: a document of 100 characters goes with a larger share of 10-grams that it has had.
    """

    garbled: float = 0.1
    repeated: float = 0.5
    han: float = 0.3
    boilerplate: int = 40
    repeated_line: int = 8
    short: int = 8
    repetitive: float = 0.3


def is_han(codes: Codes) -> Flags:
    """Which code points are Chinese characters."""
    result = np.zeros(len(codes), np.bool_)
    for first, last in _HAN:
        result |= (codes >= first) & (codes < last)
    return result


def screen(batch: Batch, rules: Rules, tally: Counts) -> Flags:
    """Judge the lines and documents of a batch.

    Returns:
        ``(l,)`` the lines to keep; those of a rejected document are all False.
    """
    lengths = batch.characters
    keep = np.ones(len(lengths), np.bool_)
    for reason, wrong in _line_tests(batch, rules):
        wrong &= keep
        tally.add(reason, lines=wrong.sum(), characters=lengths[wrong].sum())
        keep &= ~wrong
    _reject(batch, keep, _sums_of(lengths * keep, batch) < rules.short, counts.SHORT, tally)
    _reject(batch, keep, _repetition(batch, keep) > rules.repetitive, counts.REPETITIVE, tally)
    return keep


def _reject(batch: Batch, keep: Flags, wrong: Flags, reason: str, tally: Counts) -> None:
    """Take the documents ``wrong`` ``(d,)`` out of ``keep``."""
    lines = keep & wrong[batch.document_of_line]
    tally.add(reason, documents=wrong.sum(), lines=lines.sum(), characters=batch.characters[lines].sum())
    keep &= ~lines


def _sums_of(values: Ints | Flags, batch: Batch) -> Ints:
    return sums(values, batch.documents)


def _line_tests(batch: Batch, rules: Rules) -> list[tuple[str, Flags]]:
    lengths = np.maximum(batch.characters, 1)
    repeated = sums(_repeats(batch), batch.edges) > rules.repeated * lengths
    short = lengths <= rules.boilerplate
    furniture = np.fromiter(
        (s and bool(_BOILERPLATE.search(t)) for s, t in zip(short.tolist(), batch.lines, strict=True)), np.bool_, len(lengths)
    )
    return [
        (counts.GARBLED, garbled(batch, rules.garbled)),
        (counts.REPEATED, repeated & (lengths >= 10)),
        (counts.FOREIGN, sums(is_han(batch.codes), batch.edges) < rules.han * lengths),
        (counts.BOILERPLATE, furniture),
        (counts.REPEATED_LINE, _had_before(batch) & (lengths >= rules.repeated_line)),
    ]


def garbled(batch: Batch, limit: float) -> Flags:
    """``(l,)`` lines with a larger share of signs of a wrong encoding, seen in the text as it was read: the normaliser folds some."""
    codes = code_points("".join(batch.lines))
    edges = edges_of(np.fromiter(map(len, batch.lines), np.int64, len(batch.lines)))
    latin = (codes >= 0x80) & (codes < 0x100) & (codes != 0xB7)  # UTF-8 read as Latin-1: every Chinese character is three of these
    run = latin[:-2] & latin[1:-1] & latin[2:]
    signs = (codes == 0xFFFD) | ((codes >= 0xE000) & (codes < 0xF900))
    for k in range(3):
        signs[k : k + len(run)] |= run
    shares = sums(signs | np.isin(codes, _MISREAD), edges) > limit * np.diff(edges)
    marked = np.fromiter((bool(_MARKS.search(line)) for line in batch.lines), np.bool_, len(batch.lines))
    return shares | marked


def _repeats(batch: Batch) -> Flags:
    """``(m,)`` characters equal to one of the two before them in the line."""
    codes, result = batch.codes, np.zeros(len(batch.codes), np.bool_)
    place = np.arange(len(codes)) - np.repeat(batch.edges[:-1], batch.characters)
    for back in (1, 2):
        result[back:] |= (codes[back:] == codes[:-back]) & (place[back:] >= back)
    return result


def _had_before(batch: Batch) -> Flags:
    """``(l,)`` lines that an earlier line of their document equals."""
    key = hashes(batch.codes, batch.edges) ^ (batch.document_of_line.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    result = np.ones(len(key), np.bool_)
    result[np.unique(key, return_index=True)[1]] = False
    return result


def _repetition(batch: Batch, keep: Flags) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """``(d,)`` share of 10-grams that their document has had; 0 for documents under 100 characters."""
    n = 10
    kept = batch.take(keep)
    edges = kept.document_edges
    owner = np.repeat(np.arange(len(kept)), np.diff(edges))
    inside = owner[n - 1 :] == owner[: len(owner) - n + 1] if len(owner) >= n else np.zeros(0, np.bool_)
    gram, document = ngrams(kept.codes, n)[inside], owner[: len(inside)][inside]
    shift = np.uint64(64 - len(kept).bit_length())  # sorted as one number: the document, and as much of the hash as fits behind it
    order = np.sort((document.astype(np.uint64) << shift) | (gram >> (np.uint64(64) - shift)))
    again = (order[1:][order[1:] == order[:-1]] >> shift).astype(np.int64)
    repeated, totals = (np.bincount(which, minlength=len(kept)) for which in (again, document))
    return np.where(np.diff(edges) >= 100, repeated / np.maximum(totals, 1), 0.0)
