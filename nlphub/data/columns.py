"""Which column of a table holds the texts and which the labels: by their names in Chinese and English, then by what is in them."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nlphub.data.cells import as_text, is_blank
from nlphub.data.sheet import Sheet, other_sheets
from nlphub.data.tables import separator_hint
from nlphub.errors import DataError

TEXTS = (
    "text", "texts", "sentence", "query", "question", "utterance", "content", "message", "comment", "review", "sms", "title", "body",
    "input", "文本", "问题", "句子", "内容", "问句", "语句", "语料", "话术", "问法", "相似问", "提问", "咨询", "用户输入", "用户问题",
    "评论", "留言", "标题", "描述", "原文", "消息", "短信",
)  # fmt: skip
LABELS = (
    "label", "labels", "intent", "class", "category", "target", "topic", "type", "tag", "sentiment", "emotion", "标签", "意图", "类别",
    "分类", "类型", "类目", "标注", "主题", "情感", "情绪", "业务", "领域", "答案类别",
)  # fmt: skip
NEITHER = (
    "id", "no", "idx", "index", "uid", "date", "time", "split", "source", "channel", "user", "url", "score", "序号", "编号", "日期",
    "时间", "来源", "渠道", "用户名", "姓名", "备注", "得分", "工号",
)  # fmt: skip

_LONGEST_LABEL = 60  # characters
_NUMBER = re.compile(r"[-+]?[0-9][0-9.,:/\- ]{0,40}(?:e[-+]?[0-9]+)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Column:
    """What a column looks like.

    Attributes:
        name: in the header.
        place: from 0.
        filled: cells with something to read in them.
        distinct: different values among those.
        mean: characters of a value, on average.
        longest: characters of the longest value.
        numeric: share of the filled cells that are numbers or dates.
        odd: why no text or label can be read from it, or nothing.
    """

    name: str
    place: int
    filled: int
    distinct: int
    mean: float
    longest: int
    numeric: float
    odd: str

    def not_texts(self) -> str:
        """Why it cannot be the column of texts; nothing if it can."""
        if self.odd or not self.filled:
            return self.odd or "empty"
        if self.numeric > 0.5:
            return "numbers or dates"
        least = 2 if rank_name(self.name, TEXTS) else max(2, self.filled / 20)  # a name is believed, a guess needs variety
        return f"{_values(self.distinct)} in {self.filled} rows" if self.distinct < least else ""

    def not_labels(self) -> str:
        """Why it cannot be the column of labels; nothing if it can."""
        if self.odd or not self.filled:
            return self.odd or "empty"
        if self.longest > _LONGEST_LABEL:
            return f"values of up to {self.longest} characters"
        if self.distinct < 2:
            return "one value only"
        most = self.filled - 1 if rank_name(self.name, LABELS) else self.filled // 2  # a name is believed, a guess needs repetition
        return f"{self.distinct} different values in {self.filled} rows" if self.distinct > most else ""


def guess_columns(sheet: Sheet, *, text: str | None = None, label: str | None = None) -> tuple[str, str]:
    """The names of the columns of texts and of labels.

    A column whose name is a word for texts or labels, or ends in one (``用户问题``, ``intent_type``), goes before others; among equals
    texts are the longest and most different values, and labels have four rows or more for each. Labels that are words go before numbers:
    of the columns ``label`` and ``label_zh`` it is the one that people can read.

    Args:
        text: the column of texts, if it is known.
        label: the column of labels, if it is known.

    Raises:
        DataError: a column that is known is not there; or none is plausible: each is listed with the reason; or the first row seems to
            be an example.
    """
    sheet.check_columns(*(name for name in (text, label) if name is not None))
    columns = [describe_column(sheet, place) for place in range(len(sheet.header))]
    text = text or _best_texts([column for column in columns if column.name != label], label)
    label = label or _best_labels([column for column in columns if column.name != text])
    if text is None or label is None:
        raise DataError(_complaint(sheet, text, label), [f"{column.name!r}: {_reason(column, text)}" for column in columns])
    _refuse_rows_as_header(sheet, label)
    return text, label


def other_labels(sheet: Sheet, text: str, label: str) -> list[str]:
    """Further columns that could be labels, for the reader to know of."""
    columns = (describe_column(sheet, place) for place, name in enumerate(sheet.header) if name not in (text, label))
    return [column.name for column in columns if not column.not_labels() and not rank_name(column.name, NEITHER)]


def describe_column(sheet: Sheet, place: int) -> Column:
    """Look at all cells of a column."""
    name = sheet.header[place]
    odd = "no name in the first row" if not name else f"{sheet.header.count(name)} columns of this name" * (sheet.header.count(name) > 1)
    try:
        cells = [_shown(cells[place]) for _, cells in sheet.rows]
    except TypeError as wrong:
        return Column(name, place, 0, 0, 0.0, 0, 0.0, odd or str(wrong))
    values = [value for value in cells if value]
    total = max(len(values), 1)
    numbers = sum(_NUMBER.fullmatch(value) is not None for value in values)
    lengths = [len(value) for value in values]
    return Column(name, place, len(values), len(set(values)), sum(lengths) / total, max(lengths, default=0), numbers / total, odd)


def rank_name(name: str, words: Sequence[str]) -> int:
    """3 for a name that is one of the words, 2 for one that ends in one, 1 for one that holds one, 0 for others."""
    plain = re.sub(r"[\W_]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFKC", name))).strip().casefold()
    parts = plain.split(" ")
    if plain in words:
        return 3
    if any(parts[-1] == word or (not word.isascii() and plain.endswith(word)) for word in words):
        return 2
    return int(any(word in parts or (not word.isascii() and word in plain) for word in words))


def _best_texts(columns: Sequence[Column], label: str | None) -> str | None:
    able = [column for column in columns if not column.not_texts()]
    if label is None:  # leave the labels' own column to the labels
        sure = max((rank_name(column.name, LABELS) for column in able), default=0)
        able = [column for column in able if not sure or rank_name(column.name, LABELS) < sure or column.not_labels()] or able
    return max(able, key=_as_texts).name if able else None


def _best_labels(columns: Sequence[Column]) -> str | None:
    able = [column for column in columns if not column.not_labels()]
    return max(able, key=_as_labels).name if able else None


def _as_texts(column: Column) -> tuple[float, ...]:
    return rank_name(column.name, TEXTS), -rank_name(column.name, NEITHER), column.mean * column.distinct, -column.place


def _as_labels(column: Column) -> tuple[float, ...]:
    known, other, words = rank_name(column.name, LABELS), rank_name(column.name, NEITHER), column.numeric <= 0.5
    return known > 0, -other, words, known, column.distinct * 4 <= column.filled, column.filled, column.distinct, -column.place


def _shown(cell: Any) -> str:
    """A cell as it is compared; nothing for an empty one."""
    text = as_text(cell)
    return "" if text is None or is_blank(text) else text.strip()


def _complaint(sheet: Sheet, text: str | None, label: str | None) -> str:
    missing = " and ".join(what for what, name in (("texts", text), ("labels", label)) if name is None)
    return f"{sheet.path}: no column looks like {missing}. Name them with --text NAME and --label NAME.{_hint(sheet)} The columns are:"


def _hint(sheet: Sheet) -> str:
    """What else may be the matter, to go on with; or nothing."""
    if any(len(cells) > len(sheet.header) for _, cells in sheet.rows):
        return " Some rows have more cells than the first row has names: if that one is a title, delete it."
    names = " If the file has no first row with names, add one." if len(sheet.header) > 1 else ""
    return separator_hint(sheet.header) or names + other_sheets(sheet.path)


def _reason(column: Column, text: str | None) -> str:
    if column.name == text:
        return f"taken as texts; as labels: {column.not_labels() or 'possible'}"
    texts, labels = column.not_texts() or "possible", column.not_labels() or "possible"
    return texts if texts == labels else f"as texts: {texts}; as labels: {labels}"


def _refuse_rows_as_header(sheet: Sheet, label: str) -> None:
    """A column of labels whose name is also one of its values comes from a file without a header."""
    place = sheet.header.index(label)
    number = next((number for number, cells in sheet.rows if _shown(cells[place]) == label), None)
    if number is not None and not rank_name(label, LABELS):
        raise DataError(
            f"{sheet.path}: the first row names the columns, but {label!r} is also a value of its column ({sheet.unit} {number}), so the "
            "first row seems to be an example. Add a first row with names, e.g. text,label."
        )


def _values(count: int) -> str:
    return "one value only" if count == 1 else f"only {count} different values"
