"""``report/data.json``: what a report says of the data, gathered while they are at hand."""

from collections.abc import Mapping
from typing import Any

from nlphub.data.doctor.profile import describe
from nlphub.data.examples import Examples
from nlphub.evaluation.report.words import label_words


def describe_splits(splits: Mapping[str, Examples], *, words: bool = True) -> dict[str, Any]:
    """Plain values, ready for JSON: a profile of each split, and the words of each label of ``train``.

    Args:
        words: whether texts have labels whose words can be compared.

    Raises:
        StoreError: jieba's cache may be written by others.
    """
    found = {label: words.as_dict() for label, words in label_words(splits["train"]).items()} if words else {}
    return {"splits": {name: describe(part).as_dict() for name, part in splits.items()}, "words": found}
