"""Every error that a user can cause or mend.

    NlphubError                exit code 1
    ├── InputError             exit code 2: what the caller gave is wrong (one or several problems)
    │   ├── DataError          rows of a data file, labels, encodings
    │   ├── RecipeError        keys and values of a recipe
    │   └── UnknownNameError   no module, version, task or recipe of that name
    ├── MissingExtraError      an optional dependency is not installed
    ├── FetchError             a file could not be fetched
    │   ├── OfflineError       ... because NLPHUB_OFFLINE is set
    │   └── DigestError        ... its bytes are not what the registry promises
    ├── StoreError             the local store is damaged, full or in use
    ├── WeightsError           a checkpoint does not fit the network or the tokenizer
    ├── TrainingError          a training cannot go on: its numbers are no longer finite
    └── ExportError            an artefact could not be written or did not pass its proof

A message names the thing, its value, the rule and the next command.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType


class NlphubError(Exception):
    """Base of all errors raised on purpose; ``exit_code`` is what the command line returns."""

    exit_code = 1


_SHOWN = 20  # problems that a message prints one by one; the rest is counted


class InputError(NlphubError):
    """What the caller gave is wrong. All mistakes are reported at once in ``problems``; the message prints the first 20."""

    exit_code = 2

    def __init__(self, message: str, problems: Iterable[str] = ()) -> None:
        self.problems = tuple(problems)
        lines = [f"  - {problem}" for problem in self.problems[:_SHOWN]]
        if len(self.problems) > _SHOWN:
            lines.append(f"  ... and {len(self.problems) - _SHOWN} more")
        super().__init__("\n".join([message, *lines]))


class DataError(InputError):
    """Rows, labels or the encoding of a data file are wrong."""


class RecipeError(InputError):
    """Keys or values of a recipe are wrong."""


class UnknownNameError(InputError):
    """Nothing of that name exists; the message offers the nearest names."""


class MissingExtraError(NlphubError):
    """An optional dependency is not installed; the message holds the pip command."""


class FetchError(NlphubError):
    """A file could not be fetched from any of its sources."""


class OfflineError(FetchError):
    """A file would have to be fetched, and ``NLPHUB_OFFLINE`` forbids it."""


class DigestError(FetchError):
    """The bytes that arrived are not the bytes that the registry promises."""


class StoreError(NlphubError):
    """The local store is damaged, full or in use."""


class WeightsError(NlphubError):
    """A checkpoint does not fit the network, the tokenizer or the format."""


class TrainingError(NlphubError):
    """A training cannot go on: loss or gradients are no longer finite."""


class ExportError(NlphubError):
    """An artefact could not be written or did not pass its proof."""


class ClusterError(NlphubError):
    """Other machines cannot be reached, or do not answer as they have to."""


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """``" Did you mean 'label'?"`` to end a message with, or nothing when no name is near; case is ignored."""
    lowered = {other.lower(): other for other in names}
    near = get_close_matches(name.lower(), lowered, n=2, cutoff=0.6)
    return f" Did you mean {' or '.join(repr(lowered[other]) for other in near)}?" if near else ""


def brief(value: object) -> str:
    """A value for a message, at most 60 characters."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deep; a number with too many digits
        text = f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= 60 else f"{text[:57]}..."


def require(package: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional dependency, or say which extra brings it.

    Args:
        package: the importable name, e.g. ``"torch"``.
        extra: the extra of nlphub that installs it, e.g. ``"train"``.
        purpose: what it is needed for, for the message.

    Raises:
        MissingExtraError: the package is not installed.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as missing:
        if missing.name != package.partition(".")[0]:
            raise  # the package is there but one of its own needs is not: that message is the useful one
        raise MissingExtraError(
            f"{purpose} needs {package}, which is not installed. Install it with: pip install 'nlphub[{extra}]'"
        ) from missing
