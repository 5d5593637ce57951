"""Running an exported folder with numpy and onnxruntime alone.

Notation: ``n`` texts of the caller, ``b`` of one batch, ``s`` the longest of these.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlphub.data.batching import pad, token_batches, token_rows
from nlphub.data.stream import TextFile
from nlphub.errors import InputError, StoreError, WeightsError
from nlphub.files import sha256
from nlphub.runtime.artefact import COMPARE_GRAPH, FACTS, INPUTS, OUTPUT, OUTPUTS, VECTOR, Artefact
from nlphub.runtime.comparing import Comparing
from nlphub.runtime.job import Done, Engine, Job, here
from nlphub.runtime.session import Graph, Run
from nlphub.tasks import task_named
from nlphub.tasks.base import Task
from nlphub.tasks.joint import joined
from nlphub.text.encoding import Encoded, Ints
from nlphub.text.tokenizers import load_tokenizer

_BATCH_TOKENS = 256  # tokens of one batch with its padding: what stays in the cache of one core (measured: 1.9 times the speed of 4096)
_ACCELERATED = 16_384  # the same on another provider than the CPU


class Predictor:
    """Answers of an exported module.

    Args:
        folder: written by ``module.export``.
        threads: that may be used at once, by one batch or for several; default is one for each core that this process may use.
        provider: what computes: ``"cpu"``, or ``"cuda"``, ``"openvino"`` or ``"directml"`` where the installed onnxruntime has them.
        warm_up: answer once at opening, so that the first call is not slower than the second.
        precision: of the graph that runs: ``"fp32"``, or ``"int8"`` or ``"fp16"`` where the export made them.

    Raises:
        StoreError: the folder is no artefact, is damaged, or was made by a newer nlphub.
        WeightsError: its tokenizer is not the one that the weights were made with.
        InputError: ``threads`` is not a positive whole number, or there is no graph of this precision or no such provider.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        threads: int | None = None,
        precision: str = "fp32",
        provider: str = "cpu",
        warm_up: bool = False,
    ) -> None:
        self.artefact = Artefact.load(Path(folder), precision=precision)
        self.tokenizer = load_tokenizer(self.artefact.folder)
        if self.tokenizer.digest != self.artefact.tokenizer:
            raise WeightsError(
                f"The tokenizer in {folder} ({self.tokenizer.digest[:12]}...) is not the one that the weights were made with "
                f"({self.artefact.tokenizer[:12]}...). Export the module again."
            )
        self._task = self._asked()
        self._options = {"threads": threads, "precision": precision, "provider": provider, "warm_up": warm_up}
        self._graph = Graph(self.artefact.graph, threads=threads, provider=provider)
        apart, compare = self.artefact.variant == "bi-encoder", self.artefact.folder / COMPARE_GRAPH
        self._comparing = Comparing(compare, threads=threads, provider=provider) if apart else None
        if warm_up:
            self(("", "") if self.artefact.task == "text-matching" else "")

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the module that was exported."""
        return self.artefact.labels

    @property
    def provider(self) -> str:
        """What computes: a key of :data:`nlphub.runtime.session.PROVIDERS`."""
        return self._graph.provider

    @property
    def digest(self) -> str:
        """SHA-256 of ``nlphub.json``, which holds those of all other files: artefacts of equal digest answer alike."""
        return sha256(self.artefact.folder / FACTS)

    @property
    def identity(self) -> str:
        """Of all that decides answers to the last bit: the digest, the graph among several and what computes it."""
        return f"{self.digest} {self._options['precision']} {self._options['provider']}"

    def __call__(
        self, texts: str | Sequence[str], *, top_k: int = 5, batch_tokens: int | None = None, stride: int | None = None
    ) -> list[Any]:
        """One answer for each text, in the caller's order, as ``Module.predict`` gives them.

        Args:
            texts: strings, ``(text, text)`` pairs for a module of pairs, or PaddleHub's lists of one string; a single string counts as a
                list of one.
            top_k: how many candidates an answer holds, where it holds any.
            batch_tokens: the most tokens, padding included, of one batch; default is what was measured to be fast: 256 on the CPU, whose
                cores compute one batch each, 16,384 elsewhere. A longer text stands alone.
            stride: of token-cls and joint: tokens between the windows in which long texts are read (default: half a window); 0 = one
                window only.

        Raises:
            InputError: something is not of the form that the task takes, or a number is not positive.
        """
        task = self._task if stride is None else self._asked(stride)
        inputs = task.read(texts, self.tokenizer, max_length=self.artefact.max_length)
        logits = self._logits(inputs.encoded, batch_tokens)
        return task.decode(logits, inputs, self.labels, top_k=top_k, calibration=self.artefact.calibration)

    def engine(self, name: str = "here", *, top_k: int = 5) -> AbstractContextManager[Engine]:
        """What answers groups of rows while it is open: ``"here"``, this process, or ``"ray"``, a cluster.

        Raises:
            InputError: there is no such engine.
            MissingExtraError, ClusterError: of ``"ray"``, when it is opened: see :func:`nlphub.runtime.cluster.on_cluster`.
        """
        if name == "ray":
            from nlphub.runtime.cluster import on_cluster

            return on_cluster(self, top_k=top_k)
        if name != "here":
            raise InputError(f"engine={name!r} is neither 'here' nor 'ray'")
        return nullcontext(here(lambda texts: self(texts, top_k=top_k)))

    def predict_file(
        self, source: str | Path, output: str | Path, *, top_k: int = 5, overwrite: bool = False, engine: str = "here", **reading: Any
    ) -> Done:
        """Answer every row of a file of any size, in constant memory; see :mod:`nlphub.runtime.job` for what is written.

        Called again after a crash, it goes on where it was, and the files end up as if nothing had happened.

        Args:
            source: csv, tsv, jsonl, json, xlsx, parquet, or txt with a text on each line.
            output: a .jsonl to write.
            top_k: how many candidates an answer holds.
            overwrite: begin again, whatever is there.
            engine: what computes: see :meth:`engine`.
            reading: ``text``, ``pair``, ``encoding``, ``quotes``: see :class:`nlphub.data.stream.TextFile`.

        Raises:
            InputError: ``output`` holds something else, or the source as a whole cannot be read.
            StoreError: what a stopped job left was changed.
        """
        job = Job(TextFile.named(source, **reading), Path(output), asked={"model": self.identity, "top": top_k})
        with self.engine(engine, top_k=top_k) as running:
            return job.run(running, overwrite=overwrite)

    def logits(self, texts: str | Sequence[str], *, batch_tokens: int | None = None) -> NDArray[np.float32]:
        """Float32, in the caller's order, before calibration: ``(n, labels)`` of seq-cls, ``(t, tags)`` of token-cls, ``t`` tokens of all
        texts, ``(t, intents + tags)`` of joint, with 0 for the intents of all tokens but the first of a text.

        Raises:
            InputError: something is not of the form that the task takes, or ``batch_tokens`` is not positive.
        """
        return self._logits(self._task.read(texts, self.tokenizer, max_length=self.artefact.max_length).encoded, batch_tokens)

    def _asked(self, stride: int | None = None) -> Task:
        return task_named(self.artefact.task, self.artefact.variant, facts=self.artefact.decoding, stride=stride)

    def _logits(self, encoded: Encoded, batch_tokens: int | None) -> NDArray[np.float32]:
        most = (_BATCH_TOKENS if self._graph.provider == "cpu" else _ACCELERATED) if batch_tokens is None else batch_tokens
        if most < 1:
            raise InputError(f"batch_tokens={batch_tokens!r} must be at least 1")
        if self._comparing is not None and len(encoded):
            return self._comparing.logits(encoded, lambda texts: self._vectors(texts, most))
        whole = self._task.rows == "cls"
        out = np.zeros((len(encoded) if whole else len(encoded.ids), len(self._task.outputs(self.labels))), np.float32)

        def answer(rows: Ints, run: Run) -> None:
            found, padded = self._run(run, encoded, rows, *OUTPUTS.get(self._task.name, (OUTPUT,)))
            seen = found[-1] if whole else found[-1][padded[1] != 0]
            out[rows if whole else token_rows(encoded, rows)] = seen if len(found) == 1 else joined(found[0], seen, encoded.lengths[rows])

        self._graph.each(answer, list(token_batches(encoded.lengths, max_tokens=most)))
        return out

    def _vectors(self, texts: Encoded, batch_tokens: int) -> NDArray[np.float32]:
        found: dict[int, NDArray[np.float32]] = {}

        def read(rows: Ints, run: Run) -> None:
            found.update(zip(rows.tolist(), self._run(run, texts, rows, VECTOR)[0][0], strict=True))

        self._graph.each(read, list(token_batches(texts.lengths, max_tokens=batch_tokens)))
        return np.stack([found[row] for row in range(len(texts))])

    def _run(self, run: Run, encoded: Encoded, rows: Ints, *outputs: str) -> tuple[list[Any], tuple[Ints, Ints, Ints]]:
        """Outputs of the graph for some rows, and the padded batch that it was given."""
        padded = pad(encoded, rows, pad_id=self.tokenizer.pad_id)
        return run(list(outputs), dict(zip(INPUTS, padded, strict=True))), padded

    def __getstate__(self) -> dict[str, Any]:
        """For pickling and copying: the folder, not what runs. The folder is checked again when it is opened again."""
        return {"folder": self.artefact.folder.absolute(), "digest": self.digest, **self._options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the folder again.

        Raises:
            StoreError: it holds another artefact now.
        """
        known = {**state}
        folder, digest = known.pop("folder"), known.pop("digest")
        self.__init__(folder, **known)  # type: ignore[misc]
        if self.digest != digest:
            raise StoreError(
                f"{folder} holds another artefact than when this Predictor was pickled; open it with Predictor({str(folder)!r})"
            )
