"""Examples of all splits one behind the other, with their texts as the tokenizer sees them, so that "the same" means: to every module."""

import functools
import itertools
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from nlphub import paths
from nlphub.data.corpus.batch import Batch, edges_of
from nlphub.data.doctor.findings import Row
from nlphub.data.doctor.personal import mask_personal
from nlphub.data.examples import Example, Examples
from nlphub.text.encoding import Ints
from nlphub.text.normalize import Codes, Table, from_code_points


@dataclass(frozen=True, slots=True, eq=False)
class Collection:
    """Examples that are looked at together.

    Attributes:
        examples: ``n`` examples, split by split.
        splits: ``n`` names, the split of each example.
        batch: the ``n`` texts, each one line, with full-width, upper-case and traditional characters folded and white space left out.
        forms: ``n`` texts of those characters; equal forms are the same text.
    """

    examples: tuple[Example, ...]
    splits: tuple[str, ...]
    batch: Batch
    forms: tuple[str, ...]

    @classmethod
    def of(cls, splits: Mapping[str, Examples], table: Table | None = None) -> "Collection":
        """Put splits together.

        Args:
            table: the folds; default: those of ``zh_char``, which ships with nlphub.
        """
        examples = tuple(itertools.chain.from_iterable(splits.values()))
        names = tuple(name for name, part in splits.items() for _ in part)
        batch = Batch.fold([example.text for example in examples], np.arange(len(examples) + 1), table or default_table())
        return cls(examples, names, batch, tuple(_texts(batch.codes, batch.edges)))

    def row(self, number: int) -> Row:
        """An example as findings show it."""
        example = self.examples[number]
        return Row(self.splits[number], example.line, mask_personal(example.text), example.label)

    def rows(self, numbers: Iterable[int]) -> tuple[Row, ...]:
        """Several of them."""
        return tuple(map(self.row, numbers))

    def by_form(self) -> dict[str, list[int]]:
        """The numbers of the examples of each text that is not empty."""
        groups: dict[str, list[int]] = {}
        for number, form in enumerate(self.forms):
            if form:
                groups.setdefault(form, []).append(number)
        return groups

    def label_names(self, numbers: Iterable[int]) -> list[str]:
        """The different labels of examples, in their order; those without one do not count."""
        labels = (self.examples[number].label for number in numbers)
        return list(dict.fromkeys(label for label in labels if label is not None))


def without_punctuation(codes: Codes, edges: Ints) -> tuple[Codes, Ints]:
    """Texts without characters of Unicode's categories of punctuation (P); symbols such as + and ￥ stay."""
    known, places = np.unique(codes, return_inverse=True)
    keep = np.array([not unicodedata.category(chr(code)).startswith("P") for code in known.tolist()], np.bool_)[places]
    return codes[keep], edges_of(keep)[edges]


@functools.cache
def default_table() -> Table:
    """The folds of the tokenizer ``zh_char``."""
    return Table.load(paths.bundle() / "tokenizers" / "zh_char")


def _texts(codes: Codes, edges: Ints) -> Iterable[str]:
    joined = from_code_points(codes)
    return (joined[first:last] for first, last in itertools.pairwise(edges.tolist()))
