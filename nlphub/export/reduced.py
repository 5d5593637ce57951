"""Smaller graphs beside those of float32: int8 behind a gate (:mod:`nlphub.export.gate`), float16 for graphics cards.

Int8 is tried in this order, until something passes: all layers, by each method that was asked for; then, with the better method, the layers
that harm most left in float32: one, two, four, and so on up to half of them. If nothing passes, nothing is written.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nlphub.data.apart import texts_of
from nlphub.data.batching import pad, token_batches
from nlphub.data.examples import Examples
from nlphub.errors import ExportError, InputError, did_you_mean
from nlphub.export import gate, textgraph
from nlphub.export.half import TOLERANCE as HALF_TOLERANCE
from nlphub.export.half import write_half
from nlphub.export.int8 import METHODS, Batch, Int8, Method
from nlphub.export.layers import Layered
from nlphub.export.probe import probe_pairs, probe_texts
from nlphub.export.sharing import share
from nlphub.files import publish_json, sha256
from nlphub.nn.encoder import Encoder
from nlphub.runtime.artefact import FACTS, GRAPHS, INPUTS, TEXT_GRAPHS
from nlphub.runtime.predictor import Predictor
from nlphub.tasks import task_named
from nlphub.text.characters import CharacterTokenizer

KINDS = ("none", "auto", *METHODS)

_SHOWN = 8  # layers of a refusal
_BATCH_TOKENS, _BATCH_TEXTS = 1024, 512  # what static ranges are measured on
_TEXT_TOLERANCE = 0.01  # of probabilities: a number on the border of two bytes may fall to either side


@dataclass(frozen=True, slots=True)
class Reduction:
    """Which smaller graphs an export makes.

    Attributes:
        int8: ``none``; ``dynamic`` or ``static`` (see :mod:`nlphub.export.int8`); ``auto``: static, whose answers do not
            depend on what else is in a batch, or dynamic where only that passes.
        bound: points of the score, 0 to 100, that they may lose.
        fp16: whether to make a graph for graphics cards.
        dev: labelled examples that decide, and that ``static`` measures ranges on.
    """

    int8: str = "none"
    bound: float = 0.5
    fp16: bool = False
    dev: Examples | None = None

    @property
    def wanted(self) -> bool:
        """Whether there is anything to make."""
        return self.fp16 or self.int8 != "none"

    def check(self) -> None:
        """Check what can be known before there is a graph.

        Raises:
            InputError: a value that means nothing, or no examples; all mistakes at once.
        """
        wrong = []
        if self.int8 not in KINDS:
            wrong.append(f"int8={self.int8!r} is none of {', '.join(KINDS)}.{did_you_mean(str(self.int8), KINDS)}")
        if isinstance(self.bound, bool) or not isinstance(self.bound, int | float) or not 0 <= self.bound <= 100:
            wrong.append(f"int8_bound={self.bound!r} must be points of the score, 0 to 100")
        if self.wanted and (self.dev is None or not len(self.dev)):
            wrong.append(
                "there is no development data to measure what is lost: nlphub export RUN TARGET --int8 auto --data dev.csv "
                "(module.export(..., dev=examples); in a recipe data.dev, or data.split={dev: 0.1})"
            )
        if wrong:
            raise InputError("This export cannot be made smaller:", wrong)


@dataclass(frozen=True, slots=True)
class Bench:
    """A folder that is being written, and what its graph of float32 answers.

    Attributes:
        folder: with all files of a whole artefact.
        facts: of ``nlphub.json``, with ``files``, which is kept up to date.
        plain: the graph of ids with its layers.
        predictor: of float32.
        judged: its answers.
        dev: the questions.
    """

    folder: Path
    facts: dict[str, Any]
    plain: Layered
    predictor: Predictor
    judged: gate.Judged
    dev: gate.Development

    @classmethod
    def open(cls, folder: Path, facts: dict[str, Any], encoder: Encoder, examples: Examples) -> "Bench":
        """Publish the facts, and measure the graph of float32."""
        publish_json(folder / FACTS, facts)
        predictor = Predictor(folder)
        dev = gate.Development.of(facts["task"], facts["variant"], facts["labels"], examples)
        return cls(folder, facts, Layered.load(folder / GRAPHS["fp32"], encoder), predictor, gate.judge(predictor, dev), dev)

    def serve(self, precision: str) -> Predictor:
        """A Predictor of a graph that was just written."""
        self.register(GRAPHS[precision])
        return Predictor(self.folder, precision=precision)

    def register(self, *names: str) -> None:
        """Write down the digests of new files."""
        for name in names:
            path = self.folder / name
            self.facts["files"][name] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
        publish_json(self.folder / FACTS, self.facts)

    def measure(self, precision: str, *, method: str | None = None, kept: Sequence[str] = ()) -> gate.Precision:
        """Score and agreement of a graph that was just written."""
        found, file = gate.judge(self.serve(precision), self.dev), GRAPHS[precision]
        alike = gate.agreement(self.judged.answers, found.answers), gate.acceptance(self.judged.answers, found.answers)
        return gate.Precision(file, self.size(file), found.score, *alike, None, method, tuple(kept))

    def size(self, file: str) -> int:
        """Bytes of a graph and of the file that holds its weights."""
        files = {file, self.facts["weights_in"].get(file, file)}
        return sum((self.folder / name).stat().st_size for name in files)


def add_graphs(
    bench: Bench, wanted: Reduction, *, answering: textgraph.Answering, settings: textgraph.TextSettings | None
) -> dict[str, Any]:
    """Make the graphs, or fail; their files and what was measured are in ``bench.facts`` then.

    Args:
        settings: of the text graph, ``None`` for a module that has none.

    Raises:
        ExportError: a graph loses too much.
    """
    file, found = GRAPHS["fp32"], {}
    found["fp32"] = gate.Precision(file, bench.size(file), bench.judged.score)
    if wanted.int8 != "none":
        found["int8"] = choose_int8(bench, wanted)
        if settings is not None:
            _text_graph(bench, found["int8"], answering, settings)
            found["int8"] = replace(found["int8"], bytes=bench.size(GRAPHS["int8"]))
    if wanted.fp16:
        found["fp16"] = _half(bench, wanted.bound)
    return _written_down(bench, found, wanted.bound)


def choose_int8(bench: Bench, wanted: Reduction) -> gate.Precision:
    """The first graph that passes; it stands in its file.

    Raises:
        ExportError: none does, or the encoder has no layers that could be int8.
    """
    if not any(layer.kind == "matrix" for layer in bench.plain.layers):
        raise ExportError("No matrix of the encoder was found in its graph, so there is nothing to make int8. Please report this.")
    tried = []
    for method in METHODS if wanted.int8 == "auto" else (m for m in METHODS if m == wanted.int8):
        made = Int8.make(bench.plain, method, list(_batches(bench)) if method == "static" else [])
        found = _tried(bench, made, method, ())
        if gate.passes(bench.judged.score, found.score, bound=wanted.bound):
            return found
        tried.append((found, made, method))
    _, made, method = max(tried, key=lambda each: each[0].score)
    harms = gate.ranked(made.names, lambda name: _only(bench, made, name), bench.predictor, bench.dev)
    scores = [found for found, _, _ in tried]
    for count in _counts(len(harms)):
        scores.append(_tried(bench, made, method, [harm.layer for harm in harms[:count]]))
        if gate.passes(bench.judged.score, scores[-1].score, bound=wanted.bound):
            return scores[-1]
    raise ExportError(_refusal(bench, scores, harms, wanted.bound))


def _tried(bench: Bench, made: Int8, method: Method, kept: Sequence[str]) -> gate.Precision:
    made.write(bench.folder / GRAPHS["int8"], set(made.names) - set(kept))
    return bench.measure("int8", method=method, kept=kept)


def _only(bench: Bench, made: Int8, name: str) -> Predictor:
    made.write(bench.folder / GRAPHS["int8"], {name})
    return bench.serve("int8")


def _counts(layers: int) -> Iterator[int]:
    """1, 2, 4, ... up to half of the layers."""
    count = 1
    while count <= layers // 2:
        yield count
        count *= 2


def _batches(bench: Bench) -> Iterator[Batch]:
    """Development data as the graph is given them: at most 512 texts, evenly spread."""
    tokenizer, known = bench.predictor.tokenizer, bench.predictor.artefact
    rows = np.unique(np.linspace(0, len(bench.dev.questions) - 1, min(_BATCH_TEXTS, len(bench.dev.questions))).round().astype(int))
    asked = [bench.dev.questions[row] for row in rows.tolist()]
    task = task_named(known.task, known.variant, facts=known.decoding)
    encoded = task.read(asked, tokenizer, max_length=known.max_length).encoded
    encoded = texts_of(encoded) if known.variant == "bi-encoder" else encoded
    for some in token_batches(encoded.lengths, max_tokens=_BATCH_TOKENS):
        yield dict(zip(INPUTS, pad(encoded, some, pad_id=tokenizer.pad_id), strict=True))


def _text_graph(bench: Bench, found: gate.Precision, answering: textgraph.Answering, settings: textgraph.TextSettings) -> None:
    """The int8 graph of text, proven to answer as the one of ids, which from then on reads its weights there."""
    ids, path = bench.folder / GRAPHS["int8"], bench.folder / TEXT_GRAPHS["int8"]
    facts = {name: value for name, value in bench.facts.items() if name not in ("files", "parity", "schema", "weights_in")}
    precision = {"name": "int8", "method": found.method, "kept": list(found.kept)}
    textgraph.write_text_graph(path, ids, answering, settings=settings, facts=facts | {"precision": precision})
    assert isinstance(answering.tokenizer, CharacterTokenizer)
    probe: Sequence[Any] = (probe_pairs if settings.pairs else probe_texts)(answering.tokenizer, max_length=answering.max_length)
    predictor = Predictor(bench.folder, precision="int8")
    logits = predictor.logits(probe, batch_tokens=textgraph.BATCH_TOKENS)  # in the same batches: dynamic ranges are those of a batch
    parity = textgraph.text_parity(path, bench.facts["task"], answering, probe, lambda _: logits, tolerance=_TEXT_TOLERANCE)
    if parity.probabilities > _TEXT_TOLERANCE:
        raise ExportError(
            f"The int8 text graph does not answer as the int8 graph of ids: on {parity.texts} texts probabilities differ by up to "
            f"{parity.probabilities:.2g}; {_TEXT_TOLERANCE:g} is allowed. Nothing was written. Please report this."
        )
    share(ids, path)
    bench.facts["weights_in"][GRAPHS["int8"]] = TEXT_GRAPHS["int8"]
    bench.register(GRAPHS["int8"], TEXT_GRAPHS["int8"])


def _half(bench: Bench, bound: float) -> gate.Precision:
    write_half(bench.plain, bench.folder / GRAPHS["fp16"])
    found = bench.measure("fp16")
    asked = bench.dev.questions[:_BATCH_TEXTS]
    ours, theirs = bench.predictor.logits(asked), Predictor(bench.folder, precision="fp16").logits(asked)
    apart = float(np.abs(ours - theirs).max() / max(1.0, float(np.abs(ours).max())))
    if not apart <= HALF_TOLERANCE or not gate.passes(bench.judged.score, found.score, bound=bound):
        raise ExportError(
            f"float16 loses too much: logits differ by up to {apart:.2g} of the largest ({HALF_TOLERANCE:g} is allowed), "
            f"{bench.dev.score} {bench.judged.score:.2%} -> {found.score:.2%}. Nothing was written; export without --fp16."
        )
    return found


def _written_down(bench: Bench, found: Mapping[str, gate.Precision], bound: float) -> dict[str, Any]:
    """Speeds of all graphs, measured in turn, and everything as plain values."""
    predictors = [bench.predictor, *(Predictor(bench.folder, precision=name) for name in found if name != "fp32")]
    fast = dict(zip(found, gate.speeds(predictors, bench.dev), strict=True))
    measured = {name: replace(one, speed=fast[name]).as_dict() for name, one in found.items()}
    if (text := TEXT_GRAPHS["int8"]) in bench.facts["files"]:
        measured["int8"]["text_file"] = {"file": text, "bytes": bench.facts["files"][text]["bytes"]}
    return {"bound": bound, "examples": len(bench.dev.questions), "score": bench.dev.score, "graphs": measured}


def _refusal(bench: Bench, tried: Sequence[gate.Precision], harms: Sequence[gate.Harm], bound: float) -> str:
    examples, plain = len(bench.dev.questions), bench.judged.score
    lines = [
        f"int8 loses too much, so nothing was written: {bench.dev.score} is {plain:.2%} in float32 on {examples} examples, and may fall by "
        f"{bound:g} points (one example is {100 / examples:.2g}).",
        "Tried:",
        *(f"  - {one.method}, {len(one.kept) or 'no'} layers left in float32: {one.score:.2%}" for one in tried),
        "The layers that harm most, each alone in int8:",
        *(f"  - {harm}" for harm in harms[:_SHOWN]),
        "Export without --int8, or allow more (--int8-bound 2), or let more examples decide (--data dev.csv).",
    ]
    return "\n".join(lines)
