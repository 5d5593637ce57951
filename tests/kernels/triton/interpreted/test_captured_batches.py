"""Training steps as a captured graph has them, through the kernels: places that are not used, a tail, no lengths on the host."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import nlphub as hub
from nlphub import kernels
from nlphub.kernels import dispatch, operators
from nlphub.recipe import TrainSettings
from nlphub.training.device.graphs import Work
from nlphub.training.device.loop import DeviceLoop
from nlphub.training.facts import Step
from nlphub.training.loop import Loop
from nlphub.training.state import Progress

ROWS = [(f"{opening}{text}", text) for text in ("还剩多少钱", "怎么汇款", "卡丢了") for opening in ("", "请问", "那个请问一下您好啊你好吗")]


class Frozen:
    """Calls that know of the host what a captured graph would."""

    frozen = True

    def record(self, work: Work) -> Work:
        return work


def losses(kind: type[Loop], folder: Path, **options: object) -> list[float]:
    module = hub.Module(directory=folder, task="seq-cls", labels=["还剩多少钱", "怎么汇款", "卡丢了"])
    settings = TrainSettings(epochs=1, batch_size=3, learning_rate=3e-3)
    loop = kind(module, torch.optim.AdamW(module.parameters(), lr=3e-3, fused=True), settings, hub.Examples.of(ROWS), **options)

    def facts() -> Iterator[Step]:
        for number, batch in loop.batches(after=0):
            yield loop.step(number, batch, Progress.start(loop.fingerprint))

    return [fact.loss for fact in (loop.told(facts()) if isinstance(loop, DeviceLoop) else facts())]


def test_kernels_find_all_they_need_in_tensors_of_fixed_shapes(small_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dispatch.forget()
    expected = losses(Loop, small_folder)
    monkeypatch.setattr(dispatch, "on_cpu", lambda: operators)
    monkeypatch.setattr(kernels, "adamw_all_", operators.adamw_all_)
    assert losses(DeviceLoop, small_folder, recorder=Frozen()) == pytest.approx(expected, abs=1e-5)
