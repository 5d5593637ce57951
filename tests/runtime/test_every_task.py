"""Every task that exports: the Predictor answers as the module does, decision by decision, on thousands of real and random strings."""

import json
import lzma
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import nlphub as hub
from nlphub import paths
from nlphub.calibration import Calibration
from nlphub.tasks.found import SpanPrediction

COUNT = 2_000  # strings of each kind
SETS = ("smp2017_ecdt", "cic", "chnsenticorp", "tnews")
RANGES = (
    (0x4E00, 0x9FFF),
    (0x20, 0x7F),
    (0xFF00, 0xFFEF),
    (0x1F300, 0x1FAFF),
    (0x300, 0x370),
    (0x2000, 0x2070),
    (0xD800, 0xDFFF),
    (0, 0x10FFFF),
)


class Kind(NamedTuple):
    task: str
    labels: tuple[str, ...] | None = None
    variant: str | None = None
    calibration: Calibration = Calibration()
    pairs: bool = False


KINDS = (
    Kind("seq-cls", ("查物流", "退货", "转人工"), calibration=Calibration(0.7, threshold=0.4, thresholds={"退货": 0.45})),
    Kind("multi-label", ("查物流", "退货", "转人工"), calibration=Calibration(1.3, thresholds={"退货": 0.3})),
    Kind("regression"),
    Kind("text-matching", ("0", "1"), "cross-encoder", pairs=True),
    Kind("text-matching", ("0", "1"), "bi-encoder", pairs=True),
    Kind("token-cls", ("人名", "地名"), "linear"),
    Kind("token-cls", ("人名", "地名"), "crf"),
    Kind("token-cls", ("人名", "地名"), "pointer"),
    Kind("joint", ("intent:订票", "intent:退票", "slot:城市", "slot:日期")),
)


def random_strings() -> list[str]:
    generator = np.random.default_rng(7)
    strings = []
    for _ in range(COUNT):
        places = generator.integers(0, len(RANGES), generator.integers(0, 60))
        strings.append("".join(chr(generator.integers(*RANGES[place])) for place in places))
    return strings


def real_strings() -> list[str]:
    folder = paths.real_data()
    if folder is None:
        pytest.skip("NLPHUB_DATA is not set: this test reads the labelled sets of a folder of real data")
    texts: list[str] = []
    for name in SETS:
        with lzma.open(folder / "labelled" / name / "dev.jsonl.xz", "rt", encoding="utf-8") as lines:
            texts += [json.loads(line)["text"] for line, _ in zip(lines, range(COUNT // len(SETS)), strict=False)]
    assert len(texts) == COUNT
    return texts


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: "-".join(filter(None, (kind.task, kind.variant))))
def routes(
    request: pytest.FixtureRequest, small_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Kind, hub.Module, hub.Predictor]:
    """A module whose answers are far from uniform, and the Predictor of its artefact."""
    kind: Kind = request.param
    module = hub.Module(directory=small_folder, task=kind.task, labels=kind.labels, variant=kind.variant, seed=5)
    with torch.no_grad():
        for parameter in (*module.encoder.parameters(), *module.task_head.parameters()):
            parameter.mul_(12.0) if parameter.ndim > 1 else parameter.add_(0.05)
        if kind.variant == "pointer":
            module.task_head.classifier.bias[-4:] -= 2.0  # type: ignore[union-attr, operator]  # fewer spans than it ever gives for a text
    module.calibration = kind.calibration
    folder = tmp_path_factory.mktemp("artefact") / "made"
    module.export(folder)
    return kind, module, hub.Predictor(folder)


def parts(answer: Any) -> Iterator[Any]:
    """Everything that an answer says, in order; without spans of a pointer that are as good as a tie, of which millions have some."""
    if isinstance(answer, SpanPrediction):
        yield from parts([span for span in answer.spans if abs(span.score - 0.5) > 1e-5])
    elif is_dataclass(answer):
        for field in fields(answer):
            yield from parts(getattr(answer, field.name))
    elif isinstance(answer, list | tuple):
        yield len(answer)
        for one in answer:
            yield from parts(one)
    else:
        yield answer


def assert_alike(routes: tuple[Kind, hub.Module, hub.Predictor], texts: list[str]) -> None:
    kind, module, predictor = routes
    asked: list[Any] = list(zip(texts, texts[1:] + texts[:1], strict=True)) if kind.pairs else texts
    here, there = (list(map(list, map(parts, route(asked)))) for route in (module.predict, predictor))
    decided = [[one for one in each if not isinstance(one, float)] for each in here]
    assert decided == [[one for one in each if not isinstance(one, float)] for each in there]
    numbers = [[one for each in side for one in each if isinstance(one, float)] for side in (here, there)]
    np.testing.assert_allclose(*numbers, rtol=0, atol=1e-5)
    assert len({json.dumps(one) for one in decided}) > 1 or kind.task == "regression", "answers differ from text to text"


def assert_slices(routes: tuple[Kind, hub.Module, hub.Predictor], texts: list[str]) -> None:
    kind, _, predictor = routes
    if kind.task not in ("token-cls", "joint"):
        return
    named = "spans" if kind.task == "token-cls" else "slots"
    found = [(text, span) for text, answer in zip(texts, predictor(texts), strict=True) for span in getattr(answer, named)]
    assert len(found) > 100
    assert all(text[span.start : span.end] == span.text != "" for text, span in found)


def test_both_answer_alike_on_random_unicode(routes: tuple[Kind, hub.Module, hub.Predictor]) -> None:
    assert_alike(routes, random_strings())
    assert_slices(routes, random_strings())


@pytest.mark.real_data
def test_both_answer_alike_on_real_texts(routes: tuple[Kind, hub.Module, hub.Predictor]) -> None:
    assert_alike(routes, real_strings())
    assert_slices(routes, real_strings())
