"""The perturbations by name."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random

from nlphub.data.cells import is_blank
from nlphub.errors import InputError, UnknownNameError, did_you_mean
from nlphub.evaluation.robustness import folded, habits, numerals, slips, speech


@dataclass(frozen=True, slots=True)
class Perturbation:
    """A way in which the same request may be written otherwise.

    Attributes:
        name: as ``--only`` takes it.
        strength: what it changes, and how much of it.
        change: ``(text, generator) -> text``: a pure function; a text without a place for it comes back as it is.
    """

    name: str
    strength: str
    change: Callable[[str, Random], str]

    def __call__(self, text: str, *, seed: int) -> str:
        """The perturbed text. A blank text stays as it is, and so does one that would become blank.

        The generator is seeded by ``seed``, the name and the text, so that a text is perturbed alike in every file, at every place, and
        whichever other perturbations run.
        """
        changed = self.change(text, Random(f"{seed} {self.name} ".encode() + text.encode("utf-8", "surrogatepass")))
        return text if is_blank(text) or is_blank(changed) else changed


PERTURBATIONS = {
    perturbation.name: perturbation
    for perturbation in (
        Perturbation("full-width", "every ASCII character", folded.full_width),
        Perturbation("case", "every letter", folded.swapped_case),
        Perturbation("traditional", "every simplified character", folded.traditional),
        Perturbation("homophones", "1 in 10 characters", slips.homophones),
        Perturbation("look-alikes", "1 in 10 characters", slips.look_alikes),
        Perturbation("swapped-characters", "1 in 10 neighbours", slips.swapped_characters),
        Perturbation("dropped-characters", "1 in 10 characters", slips.dropped_characters),
        Perturbation("dropped-punctuation", "all of it", habits.dropped_punctuation),
        Perturbation("added-punctuation", "1 in 10 gaps, and the end", habits.added_punctuation),
        Perturbation("spaces", "1 in 5 gaps", habits.spaces),
        Perturbation("emoji", "one", habits.emoji),
        Perturbation("particles", "one", habits.particles),
        Perturbation("digits", "every number", numerals.digit_styles),
        Perturbation("speech", "fillers, numbers, 1 in 20 misheard", speech.as_speech),
    )
}


def selected(only: Iterable[str] | None = None) -> tuple[Perturbation, ...]:
    """The perturbations of these names, each once, in the order of the catalogue; all of them by default.

    Raises:
        UnknownNameError: names that are none; all of them at once, with the nearest.
        InputError: no name at all.
    """
    names = set(PERTURBATIONS if only is None else [only] if isinstance(only, str) else only)
    if unknown := sorted(names - set(PERTURBATIONS)):
        known = f"There are: {', '.join(PERTURBATIONS)}"
        raise UnknownNameError(known, [f"{name!r} is no perturbation.{did_you_mean(name, PERTURBATIONS)}" for name in unknown])
    if not names:
        raise InputError(f"No perturbation is chosen; there are: {', '.join(PERTURBATIONS)}")
    return tuple(perturbation for name, perturbation in PERTURBATIONS.items() if name in names)
