"""bfloat16 in training: the same task is learnt, weights stay float32, and float32 is bit for bit what it was."""

import pytest
import torch

import nlphub as hub
from nlphub.training.precision import autocast, has_fast_bf16, precision


def test_auto_is_float32_on_a_cpu_and_bfloat16_on_a_gpu() -> None:
    assert precision("auto", torch.device("cpu")) == torch.float32
    assert precision("auto", torch.device("cuda")) == torch.bfloat16
    assert isinstance(has_fast_bf16(), bool)


def test_a_processor_without_bfloat16_is_warned_of(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert precision("bf16", torch.device("cpu")) == torch.bfloat16
    assert "precision=fp32 is faster" in caplog.text


def test_products_are_rounded_and_the_rest_is_not() -> None:
    x = torch.randn(4, 4)
    with autocast(torch.device("cpu"), torch.bfloat16):
        assert (x @ x).dtype == torch.bfloat16
        assert torch.nn.functional.layer_norm(x, (4,)).dtype == torch.float32
    with autocast(torch.device("cpu"), torch.float32):
        assert (x @ x).dtype == torch.float32


def test_training_in_bfloat16_learns_and_keeps_float32_weights(examples: hub.Examples) -> None:
    module = hub.Module(name="ernie_tiny", task="seq-cls", labels=examples.label_names, max_length=16)
    settings = hub.TrainSettings(epochs=4, batch_size=8, learning_rate=3e-4, precision="bf16", dropout=0.1)
    losses = [step.loss for step in hub.Trainer(module, settings=settings).steps(examples)]
    assert losses[-1] < 0.5 * losses[0]
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
