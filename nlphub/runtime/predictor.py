"""Running an exported folder with numpy and onnxruntime alone.

Notation: ``n`` texts of the caller, ``b`` of one batch, ``s`` the longest of these.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlphub.data.batching import pad, token_batches
from nlphub.errors import InputError, WeightsError
from nlphub.runtime.artefact import INPUTS, OUTPUT, Artefact
from nlphub.runtime.predictions import Calibration, Prediction, as_texts, classify
from nlphub.runtime.session import open_session
from nlphub.text.tokenizers import load_tokenizer

_BATCH_TOKENS = 4096  # tokens of one batch with its padding: bounds memory, fills two cores


class Predictor:
    """Answers of an exported classifier.

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
        self._threads = threads
        self._session = open_session(self.artefact.graph, threads=threads)

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of the logits."""
        return self.artefact.labels

    def __call__(self, texts: str | Sequence[str], *, top_k: int = 5, batch_tokens: int = _BATCH_TOKENS) -> list[Prediction]:
        """One :class:`~nlphub.Prediction` for each text, in the caller's order.

        Args:
            texts: strings, or PaddleHub's lists of one string; a single string counts as a list of one.
            top_k: how many labels ``Prediction.top`` holds.
            batch_tokens: the most tokens, padding included, that are computed at once.

        Raises:
            InputError: something is not a string, or a number is not positive.
        """
        calibration = Calibration(self.artefact.temperature, self.artefact.threshold)
        return classify(self.logits(texts, batch_tokens=batch_tokens), self.labels, top_k=top_k, calibration=calibration)

    def logits(self, texts: str | Sequence[str], *, batch_tokens: int = _BATCH_TOKENS) -> NDArray[np.float32]:
        """``(n, labels)`` float32, in the caller's order, before calibration.

        Raises:
            InputError: something is not a string, or ``batch_tokens`` is not positive.
        """
        if batch_tokens < 1:
            raise InputError(f"batch_tokens={batch_tokens!r} must be at least 1")
        encoded = self.tokenizer.encode(as_texts(texts), max_length=self.artefact.max_length)
        out = np.zeros((len(encoded), len(self.labels)), np.float32)
        for rows in token_batches(encoded.lengths, max_tokens=batch_tokens):
            inputs = dict(zip(INPUTS, pad(encoded, rows, pad_id=self.tokenizer.pad_id), strict=True))
            (out[rows],) = self._session.run([OUTPUT], inputs)
        return out

    def __getstate__(self) -> dict[str, Any]:
        """For pickling and copying: the folder, not the running session. The folder is checked again when it is opened again."""
        return {"folder": self.artefact.folder, "threads": self._threads}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the folder again."""
        self.__init__(state["folder"], threads=state["threads"])  # type: ignore[misc]
