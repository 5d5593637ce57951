"""What each step of a preparation took away, in documents, lines and characters, so that every difference is accounted for."""

from collections.abc import Iterable, Mapping

READ = "read"
UNREADABLE = "unreadable row"
GARBLED = "mojibake"
REPEATED = "repeated characters"
FOREIGN = "little Han"
BOILERPLATE = "boilerplate"
REPEATED_LINE = "line repeated in its document"
SHORT = "short document"
REPETITIVE = "repetitive document"
SAME_DOCUMENT = "equal document"
NEAR_DOCUMENT = "near-equal document"
SAME_LINE = "equal long line"
CAPPED = "source cap"
EVALUATION_GRAM = "13-gram of evaluation data"
EVALUATION_LINE = "short line of evaluation data"
LEFT_SHORT = "short after all"
DEV = "dev"
TRAIN = "train"

DROPS = (  # in the order in which they happen; READ - all of these = DEV + TRAIN, for documents, lines and characters each
    GARBLED,
    REPEATED,
    FOREIGN,
    BOILERPLATE,
    REPEATED_LINE,
    SHORT,
    REPETITIVE,
    SAME_DOCUMENT,
    NEAR_DOCUMENT,
    SAME_LINE,
    CAPPED,
    EVALUATION_LINE,
    EVALUATION_GRAM,
    LEFT_SHORT,
)

Row = tuple[int, int, int]  # documents, lines, characters (as normalised)


class Counts(dict[str, Row]):
    """Step -> documents, lines, characters. A missing step is zero."""

    def __missing__(self, step: str) -> Row:
        return (0, 0, 0)

    def add(self, step: str, *, documents: int = 0, lines: int = 0, characters: int = 0) -> None:
        """Count something under a step."""
        old = self[step]
        self[step] = (old[0] + int(documents), old[1] + int(lines), old[2] + int(characters))

    @classmethod
    def total(cls, parts: "Iterable[Mapping[str, Iterable[int]]]") -> "Counts":
        """The sum of several counts; those that were read from JSON are welcome."""
        result = cls()
        for part in parts:
            for step, (documents, lines, characters) in part.items():
                result.add(step, documents=documents, lines=lines, characters=characters)
        return result
