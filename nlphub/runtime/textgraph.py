"""Running a text-in graph (``onnx/model_text.onnx``) from Python: strings in, answers out, with numpy and onnxruntime alone.

Other languages need nothing of this: the file holds tokenizer, network, calibration and labels. ``TextGraph`` is for tests and
measurements, and for Python services that want one file.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlphub.errors import InputError
from nlphub.runtime.artefact import ANSWERS, PAIRS, TEXTS
from nlphub.runtime.session import open_session
from nlphub.tasks.predictions import Prediction, as_texts

_SURROGATE = re.compile("[\ud800-\udfff]")


def well_formed(text: str) -> str:
    """``text`` with every lone surrogate replaced by U+FFFD, so that it has a UTF-8 form.

    Python strings may hold lone surrogates (``json.loads`` makes them), and onnxruntime refuses those. Our tokenizer reads one as U+FFFD,
    so the answer stays the same.
    """
    return _SURROGATE.sub("\ufffd", text)


class TextGraph:
    """Answers of a text-in graph.

    Args:
        path: an ONNX file written by ``module.export`` or ``nlphub export --format text``.
        threads: for one batch; default is onnxruntime's own choice.

    Raises:
        StoreError: onnxruntime cannot run the file.
    """

    def __init__(self, path: str | Path, *, threads: int | None = None) -> None:
        self._session = open_session(Path(path), threads=threads)
        self.facts: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        self.takes_pairs = PAIRS in {given.name for given in self._session.get_inputs()}

    def __call__(self, texts: str | Sequence[Any]) -> list[Prediction]:
        """One answer for each text (or pair), in their order; as many candidates as the graph was made for.

        All are computed as one batch, padded to the longest: pass as many at once as memory allows, best of about the same length.

        Raises:
            InputError: something is not a string, or not a pair of strings where the graph takes pairs.
        """
        label, score, accepted, labels, scores = self._session.run(list(ANSWERS), self._inputs(as_texts(texts)))
        rows = zip(label.tolist(), score.tolist(), accepted.tolist(), labels.tolist(), scores.tolist(), strict=True)
        return [
            Prediction(name if sure else None, best, sure, tuple(zip(names, found, strict=True))) for name, best, sure, names, found in rows
        ]

    def _inputs(self, given: list[Any]) -> dict[str, NDArray[np.object_]]:
        if not self.takes_pairs:
            return {TEXTS: _strings(given)}
        if wrong := [f"texts[{row}] is {pair!r:.60}" for row, pair in enumerate(given) if not _is_pair(pair)]:
            raise InputError("This graph takes pairs of texts, such as ('first', 'second')", wrong)
        return {TEXTS: _strings([first for first, _ in given]), PAIRS: _strings([second for _, second in given])}


def _strings(given: list[Any]) -> NDArray[np.object_]:
    if wrong := [f"texts[{row}] is {text!r:.60}" for row, text in enumerate(given) if not isinstance(text, str)]:
        raise InputError("This graph takes single texts", wrong)
    return np.array([well_formed(text) for text in given], dtype=object)


def _is_pair(given: Any) -> bool:
    return isinstance(given, list | tuple) and len(given) == 2 and all(isinstance(text, str) for text in given)
