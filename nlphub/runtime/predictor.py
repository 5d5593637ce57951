"""Running an exported folder with numpy and onnxruntime alone.

Notation: ``n`` texts of the caller, ``b`` of one batch, ``s`` the longest of these.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlphub.data.batching import pad, token_batches, token_rows
from nlphub.errors import InputError, WeightsError
from nlphub.runtime.artefact import COMPARE_GRAPH, INPUTS, OUTPUT, VECTOR, Artefact
from nlphub.runtime.comparing import Comparing
from nlphub.runtime.session import open_session
from nlphub.tasks import task_named
from nlphub.tasks.base import Task
from nlphub.text.encoding import Encoded, Ints
from nlphub.text.tokenizers import load_tokenizer

_BATCH_TOKENS = 4096  # tokens of one batch with its padding: bounds memory, fills two cores


class Predictor:
    """Answers of an exported module.

    Args:
        folder: written by ``module.export``.
        threads: for one batch; default is one for each core.

    Raises:
        StoreError: the folder is no artefact, is damaged, or was made by a newer nlphub.
        WeightsError: its tokenizer is not the one that the weights were made with.
        InputError: ``threads`` is not a positive whole number.
    """

    def __init__(self, folder: str | Path, *, threads: int | None = None) -> None:
        if threads is not None and (type(threads) is not int or threads < 1):
            raise InputError(f"threads={threads!r} must be a whole number of at least 1")
        self.artefact = Artefact.load(Path(folder))
        self.tokenizer = load_tokenizer(self.artefact.folder)
        if self.tokenizer.digest != self.artefact.tokenizer:
            raise WeightsError(
                f"The tokenizer in {folder} ({self.tokenizer.digest[:12]}...) is not the one that the weights were made with "
                f"({self.artefact.tokenizer[:12]}...). Export the module again."
            )
        self._task = self._asked()
        self._threads = threads
        self._session = open_session(self.artefact.graph, threads=threads)
        apart, compare = self.artefact.variant == "bi-encoder", self.artefact.folder / COMPARE_GRAPH
        self._comparing = Comparing(compare, threads=threads) if apart else None

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the module that was exported."""
        return self.artefact.labels

    def __call__(
        self, texts: str | Sequence[str], *, top_k: int = 5, batch_tokens: int = _BATCH_TOKENS, stride: int | None = None
    ) -> list[Any]:
        """One answer for each text, in the caller's order, as ``Module.predict`` gives them.

        Args:
            texts: strings, ``(text, text)`` pairs for a module of pairs, or PaddleHub's lists of one string; a single string counts as a
                list of one.
            top_k: how many candidates an answer holds, where it holds any.
            batch_tokens: the most tokens, padding included, that are computed at once.
            stride: of token-cls: tokens between the windows in which long texts are read (default: half a window); 0 = one window only.

        Raises:
            InputError: something is not of the form that the task takes, or a number is not positive.
        """
        task = self._task if stride is None else self._asked(stride)
        inputs = task.read(texts, self.tokenizer, max_length=self.artefact.max_length)
        logits = self._logits(inputs.encoded, batch_tokens)
        return task.decode(logits, inputs, self.labels, top_k=top_k, calibration=self.artefact.calibration)

    def logits(self, texts: str | Sequence[str], *, batch_tokens: int = _BATCH_TOKENS) -> NDArray[np.float32]:
        """Float32, in the caller's order, before calibration: ``(n, labels)`` of seq-cls, ``(t, tags)`` of token-cls, ``t`` tokens of all
        texts.

        Raises:
            InputError: something is not of the form that the task takes, or ``batch_tokens`` is not positive.
        """
        return self._logits(self._task.read(texts, self.tokenizer, max_length=self.artefact.max_length).encoded, batch_tokens)

    def _asked(self, stride: int | None = None) -> Task:
        return task_named(self.artefact.task, self.artefact.variant, facts=self.artefact.decoding, stride=stride)

    def _logits(self, encoded: Encoded, batch_tokens: int) -> NDArray[np.float32]:
        if batch_tokens < 1:
            raise InputError(f"batch_tokens={batch_tokens!r} must be at least 1")
        if self._comparing is not None and len(encoded):
            return self._comparing.logits(encoded, lambda texts: self._vectors(texts, batch_tokens))
        whole = self._task.rows == "cls"
        out = np.zeros((len(encoded) if whole else len(encoded.ids), len(self._task.outputs(self.labels))), np.float32)
        for rows in token_batches(encoded.lengths, max_tokens=batch_tokens):
            found, padded = self._run(encoded, rows, OUTPUT)
            out[rows if whole else token_rows(encoded, rows)] = found if whole else found[padded[1] != 0]
        return out

    def _vectors(self, texts: Encoded, batch_tokens: int) -> NDArray[np.float32]:
        batches = list(token_batches(texts.lengths, max_tokens=batch_tokens))
        found = np.concatenate([self._run(texts, rows, VECTOR)[0] for rows in batches])
        return np.asarray(found[np.argsort(np.concatenate(batches))])

    def _run(self, encoded: Encoded, rows: Ints, output: str) -> tuple[Any, tuple[Ints, Ints, Ints]]:
        """An output of the graph for some rows, and the padded batch that it was given."""
        padded = pad(encoded, rows, pad_id=self.tokenizer.pad_id)
        (found,) = self._session.run([output], dict(zip(INPUTS, padded, strict=True)))
        return found, padded

    def __getstate__(self) -> dict[str, Any]:
        """For pickling and copying: the folder, not the running session. The folder is checked again when it is opened again."""
        return {"folder": self.artefact.folder, "threads": self._threads}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the folder again."""
        self.__init__(state["folder"], threads=state["threads"])  # type: ignore[misc]
