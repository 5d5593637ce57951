"""What a task knows besides its network: the protocols that Module, Predictor and Trainer call.

A head (:mod:`nlphub.nn.heads`) is mathematics: hidden rows in, logits and losses out. Everything between that and the caller's texts
and labels is a :class:`Task`, in numpy alone, so that ``Module.predict`` (torch) and ``Predictor`` (onnxruntime) answer alike.

Notation: ``b`` texts of the caller, ``t`` tokens of all of them, ``n`` outputs of the head.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from nlphub.calibration import Calibration
from nlphub.data.examples import Examples
from nlphub.evaluation.metrics import Metrics
from nlphub.text.encoding import Encoded
from nlphub.text.tokenizers import Tokenizer

Flags = NDArray[np.bool_]
Logits = NDArray[np.float32]
Targets = NDArray[Any] | tuple[NDArray[Any], ...]  # see nlphub.tasks.targets


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """What the caller asks about, read and tokenised.

    Attributes:
        texts: ``b`` texts as the caller wrote them; offsets count their code points.
        pairs: ``b`` second texts, or ``None``.
        encoded: both, tokenised and cut to the module's maximum length.
    """

    texts: list[str]
    pairs: list[str] | None
    encoded: Encoded


class Task(Protocol):
    """How texts become inputs and logits become answers.

    Attributes:
        name: as in ``Module(task=...)``; the head's ``task`` is the same word.
        rows: the rows that the head sees, as ``Head.rows``: one for each text (``"cls"``), or one for each token (``"all"``).
    """

    @property
    def name(self) -> str: ...
    @property
    def rows(self) -> Literal["cls", "all"]: ...

    def outputs(self, labels: Sequence[str]) -> tuple[str, ...]:
        """The names of the head's ``n`` logits, for a module with these labels.

        Raises:
            InputError: labels that this task cannot have.
        """

    def read(self, given: Any, tokenizer: Tokenizer, *, max_length: int) -> Inputs:
        """What a caller passes to ``predict``, tokenised.

        Raises:
            InputError: something is not of the form that this task takes.
        """

    def wanted(self, inputs: Inputs) -> Flags | None:
        """Which of the tokens need logits: ``(t,)`` bool, or ``None`` for all. Only asked where :attr:`rows` is ``"all"``."""

    def decode(self, logits: Logits, inputs: Inputs, labels: Sequence[str], *, top_k: int, calibration: Calibration) -> list[Any]:
        """One answer for each text, in the caller's order.

        Args:
            logits: ``(b, n)`` where :attr:`rows` is ``"cls"``; else ``(t, n)``, or ``(w, n)`` of the ``w`` tokens that are
                :meth:`wanted`, in the order of ``inputs.encoded``.
            labels: of the module.
            top_k: how many candidates an answer holds, where it holds any.
            calibration: of the module.
        """


class Trainable(Task, Protocol):
    """A task that labelled examples can teach and judge."""

    def label_names(self, examples: Examples) -> tuple[str, ...]:
        """The labels of a new module for these examples, sorted."""

    def check(
        self, train: Examples, dev: Examples | None = None, *, test: Examples | None = None, labels: Sequence[str] | None = None
    ) -> None:
        """Check that a module (with ``labels``, where they are fixed already) can be trained and judged on these examples.

        Raises:
            DataError: it cannot; all reasons at once.
        """

    def check_judged(self, examples: Examples, labels: Sequence[str]) -> None:
        """Check that a module with these labels can be judged on these examples. Raises as :meth:`check`."""

    def targets(self, examples: Examples, encoded: Encoded, labels: Sequence[str]) -> Targets:
        """What the head should say, as its loss takes it: one row for each text or for each token.

        Of one class each: ``(b,)`` or ``(t,)`` int64 numbers of the right outputs, :data:`IGNORED` for tokens that have none. Of any
        number of labels: ``(b, n)`` float32 of 0 and 1. Of a number: ``(b,)`` float32. Of several at once: a tuple of such arrays.
        """

    def questions(self, examples: Examples) -> list[Any]:
        """The examples as ``predict`` takes them."""

    def judge(self, examples: Examples, predictions: Sequence[Any], labels: Sequence[str]) -> Metrics:
        """Scores of what ``predict`` answered to :meth:`questions`.

        Raises:
            DataError: examples without the right answers.
        """


IGNORED = -100  # torch's own ignore_index: such targets have no loss
