"""What runs a graph: providers by name, clear refusals, batches at once and one after the other alike."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from nlphub.errors import InputError, StoreError
from nlphub.runtime import session
from nlphub.runtime.predictor import Predictor
from nlphub.runtime.session import Graph, open_session

TEXTS = [("退货" * (n % 17 + 1))[: n % 23 + 1] for n in range(300)]


def test_a_provider_that_is_not_there_is_named_with_those_that_are(exported: Path) -> None:
    with pytest.raises(InputError, match=r"provider='cuda'(.|\n)*has: (.|\n)*cpu(.|\n)*pip install onnxruntime-gpu"):
        Predictor(exported, provider="cuda")
    with pytest.raises(InputError, match="Did you mean 'openvino'"):
        Predictor(exported, provider="openvin")


def test_a_provider_that_cannot_start_is_not_replaced_in_silence(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    graph = exported / "onnx" / "model.onnx"

    class Silent:
        def __init__(self, *given: object, **options: object) -> None: ...

        def get_providers(self) -> list[str]:
            return ["CPUExecutionProvider"]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Silent)
    with pytest.raises(StoreError, match="cannot start it"):
        open_session(graph, provider="cuda")


def test_batches_at_once_answer_as_one_thread_does(exported: Path) -> None:
    alone, together = Predictor(exported, threads=1), Predictor(exported, threads=3, warm_up=True)
    np.testing.assert_array_equal(together.logits(TEXTS, batch_tokens=64), alone.logits(TEXTS, batch_tokens=64))
    assert together(TEXTS) == alone(TEXTS)


def test_many_threads_share_a_predictor(exported: Path) -> None:
    predictor = Predictor(exported, threads=2)
    expected = predictor.logits(TEXTS, batch_tokens=100)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: predictor.logits(TEXTS, batch_tokens=100), range(24)):
            np.testing.assert_array_equal(found, expected)


def test_what_a_batch_raises_is_raised(exported: Path) -> None:
    def fail(batch: int, run: session.Run) -> None:
        if batch == 2:
            raise ValueError("batch 2")

    with pytest.raises(ValueError, match="batch 2"):
        Graph(exported / "onnx" / "model.onnx", threads=2).each(fail, [1, 2, 3])


def test_the_default_is_one_thread_for_each_core_of_this_process(exported: Path) -> None:
    assert Graph(exported / "onnx" / "model.onnx").threads == session.cores() >= 1
