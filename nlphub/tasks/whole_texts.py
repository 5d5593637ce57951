"""What the tasks have in common that answer for whole texts, or for pairs of them."""

from collections.abc import Iterable
from typing import Any, Literal

from nlphub.data.examples import Examples
from nlphub.errors import InputError, brief
from nlphub.tasks.base import Flags, Inputs
from nlphub.tasks.predictions import as_texts
from nlphub.text.tokenizers import Tokenizer


class WholeTexts:
    """How texts and pairs are read; see :class:`nlphub.tasks.base.Task`."""

    rows: Literal["cls", "all"] = "cls"

    def read(self, given: Any, tokenizer: Tokenizer, *, max_length: int) -> Inputs:
        """Strings, or ``(text, text)`` pairs; PaddleHub's lists of one string too. A single string counts as a list of one."""
        texts, pairs = separated(as_texts(given))
        return Inputs(texts, pairs, tokenizer.encode(texts, pairs, max_length=max_length))

    def wanted(self, inputs: Inputs) -> Flags | None:
        """Never asked: this task sees whole texts."""
        return None

    def questions(self, examples: Examples) -> list[Any]:
        """Texts, or pairs of them."""
        pairs = examples.pairs
        return examples.texts if pairs is None else list(zip(examples.texts, pairs, strict=True))


def separated(given: Iterable[Any]) -> tuple[list[str], list[str] | None]:
    """First and second texts of a list of strings, or of a list of pairs.

    Raises:
        InputError: some are pairs and others are not, or hold something else than two texts. What a single text is, the tokenizer judges.
    """
    items = list(given)
    if not any(isinstance(item, list | tuple) for item in items):
        return items, None
    wrong = [
        f"texts[{number}] is {brief(item)}"
        for number, item in enumerate(items)
        if not (isinstance(item, list | tuple) and len(item) == 2 and all(isinstance(text, str) for text in item))
    ]
    if wrong:
        raise InputError("Among pairs of texts everything has to be a pair such as ('first', 'second')", wrong)
    return [first for first, _ in items], [second for _, second in items]
