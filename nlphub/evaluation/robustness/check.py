"""How a classifier answers when the same requests are written otherwise."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from nlphub.aligned import aligned
from nlphub.data.examples import Examples
from nlphub.errors import DataError, InputError
from nlphub.evaluation.robustness.catalogue import Perturbation, selected

Question = str | tuple[str, str]  # a text, or a pair of texts
Predict = Callable[[list[Any]], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Flip:
    """A text whose answer a perturbation changed.

    Attributes:
        original, perturbed: the text, or the pair of texts, before and after.
        label: the true one.
        before, after: the answers.
    """

    original: Question
    perturbed: Question
    label: str
    before: str
    after: str

    def cells(self) -> tuple[str, ...]:
        """For a table: the fields in their order, a pair of texts as two lines of one cell."""
        return _cell(self.original), _cell(self.perturbed), self.label, self.before, self.after


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one perturbation did.

    Attributes:
        perturbation: which one.
        changed: how many texts it changed.
        right_before, right_after: how many of these were answered rightly as they were, and as they became.
        flips: those whose answer changed.
    """

    perturbation: Perturbation
    changed: int
    right_before: int
    right_after: int
    flips: tuple[Flip, ...]

    @property
    def accuracy_before(self) -> float | None:
        """Share of right answers to the changed texts as they were, 0 to 1; ``None`` where no text was changed."""
        return self._share(self.right_before)

    @property
    def accuracy_after(self) -> float | None:
        """Share of right answers to the changed texts as they became, 0 to 1; ``None`` where no text was changed."""
        return self._share(self.right_after)

    @property
    def flip_rate(self) -> float | None:
        """Share of the changed texts whose answer changed, 0 to 1; ``None`` where no text was changed."""
        return self._share(len(self.flips))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; flips are counted."""
        return {
            "strength": self.perturbation.strength,
            "changed": self.changed,
            "accuracy_before": self.accuracy_before,
            "accuracy_after": self.accuracy_after,
            "flips": len(self.flips),
            "flip_rate": self.flip_rate,
        }

    def cells(self) -> tuple[Any, ...]:
        """For a table of numbers."""
        shares = self.accuracy_before, self.accuracy_after, self.flip_rate
        before, after, rate = ("-" if share is None else f"{share:.4f}" for share in shares)
        return self.perturbation.name, self.changed, before, after, len(self.flips), rate

    def _share(self, part: int) -> float | None:
        return part / self.changed if self.changed else None


@dataclass(frozen=True, slots=True)
class Robustness:
    """What :func:`check_robustness` found.

    Attributes:
        seed: of the perturbations.
        texts: how many were asked about.
        accuracy: share of right answers to the texts as they are, 0 to 1.
        outcomes: one for each perturbation.
    """

    seed: int
    texts: int
    accuracy: float
    outcomes: tuple[Outcome, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; the flips are counted, :meth:`flips_csv` lists them."""
        outcomes = {outcome.perturbation.name: outcome.as_dict() for outcome in self.outcomes}
        return {"seed": self.seed, "texts": self.texts, "accuracy": self.accuracy, "perturbations": outcomes}

    def table(self) -> str:
        """A text table for a terminal; accuracy before and after, and the rate of flips, are of the changed texts."""
        header = ("perturbation", "changed", "before", "after", "flips", "rate")
        numbers = aligned(header, [outcome.cells() for outcome in self.outcomes], numbers=True).split("\n")
        strengths = ("strength", *(outcome.perturbation.strength for outcome in self.outcomes))
        lines = [f"{line}  {strength}" for line, strength in zip(numbers, strengths, strict=True)]
        return "\n".join([*lines, "", f"accuracy of all {self.texts} texts as they are: {self.accuracy:.4f}"])

    def flips_csv(self) -> str:
        """Every flip as a row of a csv file with a header. It begins with a byte order mark, by which Excel knows UTF-8; lone surrogates,
        which JSON can hold and UTF-8 cannot, are U+FFFD."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("perturbation", "original", "perturbed", "label", "before", "after"))
        writer.writerows((outcome.perturbation.name, *flip.cells()) for outcome in self.outcomes for flip in outcome.flips)
        return "\ufeff" + stream.getvalue().encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def check_robustness(predict: Predict, examples: Any, *, seed: int = 0, only: Iterable[str] | None = None) -> Robustness:
    """Perturb labelled texts and compare the answers.

    All texts are asked about together each time, also those that a perturbation left alone: where it changes no token, the batches are
    equal to the last bit, and so are the answers.

    Args:
        predict: from a list of texts (or of pairs, where the examples have second texts) to one label for each, in their order.
        examples: labelled examples, or what :meth:`nlphub.data.examples.Examples.of` makes them from. Of pairs both texts are perturbed.
        seed: the same seed gives the same texts.
        only: names of perturbations (:data:`PERTURBATIONS`); all by default.

    Raises:
        DataError: no examples, or some without a label.
        UnknownNameError: names that are no perturbation.
        MissingExtraError: a chosen perturbation needs pypinyin, which is not installed. Nothing has been predicted then.
        InputError: ``predict`` did not give one label for each text.
    """
    labelled, perturbations = Examples.of(examples), selected(only)
    if not labelled:
        raise DataError("There are no examples to perturb.")
    questions, truth = _questions(labelled), labelled.labels
    perturbed = [[_perturbed(question, perturbation, seed) for question in questions] for perturbation in perturbations]
    before = _answers(predict, questions)
    outcomes = []
    for perturbation, texts in zip(perturbations, perturbed, strict=True):
        rows = map(Flip, questions, texts, truth, before, _answers(predict, texts))
        outcomes.append(_outcome(perturbation, [row for row in rows if row.perturbed != row.original]))
    right = sum(answer == label for answer, label in zip(before, truth, strict=True))
    return Robustness(seed, len(questions), right / len(questions), tuple(outcomes))


def _outcome(perturbation: Perturbation, changed: Sequence[Flip]) -> Outcome:
    """What happened to the texts that were changed, whether their answers were or not."""
    return Outcome(
        perturbation=perturbation,
        changed=len(changed),
        right_before=sum(row.before == row.label for row in changed),
        right_after=sum(row.after == row.label for row in changed),
        flips=tuple(row for row in changed if row.after != row.before),
    )


def _questions(examples: Examples) -> list[Question]:
    pairs = examples.pairs
    return [*examples.texts] if pairs is None else [*zip(examples.texts, pairs, strict=True)]


def _perturbed(question: Question, perturbation: Perturbation, seed: int) -> Question:
    if isinstance(question, str):
        return perturbation(question, seed=seed)
    first, second = question
    return perturbation(first, seed=seed), perturbation(second, seed=seed)


def _answers(predict: Predict, questions: list[Question]) -> list[str]:
    answers = list(predict(list(questions)))
    if len(answers) != len(questions):
        raise InputError(f"predict gave {len(answers)} labels for {len(questions)} texts; it has to give one for each")
    return answers


def _cell(question: Question) -> str:
    return question if isinstance(question, str) else "\n".join(question)
