"""A training on the CPU through the registered operators takes the same steps as one through the definitions."""

from typing import Any

import pytest
import torch
from torch import nn

from nlphub import kernels
from nlphub.kernels import Layout, Noise, dispatch, operators, reference
from nlphub.nn.encoder import Encoder, EncoderConfig
from nlphub.nn.heads import SequenceHead, TokenHead
from nlphub.nn.initialise import initialise

LENGTHS = [3, 9, 9, 5, 1, 12, 12, 12]


def losses(route: Any, head: type, batch: Any, monkeypatch: pytest.MonkeyPatch, *, steps: int = 20) -> list[float]:
    """Of a small network with dropout everywhere, from the same weights."""
    monkeypatch.setattr(dispatch, "on_cpu", lambda: route)
    torch.manual_seed(0)
    config = EncoderConfig(vocab=50, layers=2, width=26, heads=2, inner=40, positions=16, dropout=0.1, attention_dropout=0.1)
    network = nn.ModuleDict({"encoder": Encoder(config), "head": head(26, 4)})
    initialise(network, seed=5)
    optimizer, packed, found = torch.optim.AdamW(network.parameters(), lr=5e-3), batch(LENGTHS), []
    count = len(LENGTHS) if head.rows == "cls" else sum(LENGTHS)
    targets = torch.arange(count) % 4
    for step in range(steps):
        noise = Noise.of_step(1, step)
        hidden = network["encoder"](packed, rows=head.rows, noise=noise)
        loss = network["head"].loss(network["head"](hidden, packed, noise=noise), targets).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(float(loss.detach()))
    return found


@pytest.mark.parametrize("head", [SequenceHead, TokenHead])
def test_twenty_steps_have_the_same_losses(head: type, batch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = losses(reference, head, batch, monkeypatch)
    found = losses(operators, head, batch, monkeypatch)
    assert found == pytest.approx(expected, abs=1e-6, rel=1e-6)
    assert expected[-1] < expected[0]


def test_an_encoder_is_traced_with_the_operators_and_fake_tensors(batch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "on_cpu", lambda: operators)
    config = EncoderConfig(vocab=50, layers=1, width=8, heads=2, inner=12, positions=16)
    encoder, packed = Encoder(config), batch([3, 5])
    layout = Layout.of(packed)

    class Rows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = encoder.blocks[0]

        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            return self.block(hidden, layout)

    layout.places(torch.device("cpu"))  # made on the host, before anything is traced
    program = torch.export.export(Rows(), (torch.ones(8, 8),))
    called = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert {"nlphub.attention.default", "nlphub.add_norm.default", "nlphub.bias_gelu.default"} <= called
    hidden = torch.linspace(-1, 1, 64).view(8, 8)
    torch.testing.assert_close(program.module()(hidden), encoder.blocks[0](hidden, layout))
    assert kernels.dispatch.on_cpu() is operators
