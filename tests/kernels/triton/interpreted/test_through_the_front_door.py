"""``NLPHUB_KERNELS=triton`` under the interpreter: a small network learns through all kernels as it does through the definitions."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from nlphub.kernels import Dropout, Layout, Noise, Run, dispatch, operators, probes, reference
from nlphub.kernels.layout import Places
from nlphub.kernels.probes import Case
from nlphub.nn.encoder import Encoder, EncoderConfig
from nlphub.nn.initialise import initialise


@pytest.fixture(autouse=True)
def undecided() -> Iterator[None]:
    dispatch.forget()
    yield
    dispatch.forget()


@pytest.mark.parametrize("rows", ["all", "cls"])
def test_hidden_rows_and_gradients(rows: Any, batch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config = EncoderConfig(vocab=50, layers=2, width=52, heads=2, inner=40, positions=40, dropout=0.1, attention_dropout=0.1)
    encoder, packed, found = Encoder(config), batch([3, 17, 17, 1]), []
    initialise(encoder, seed=5)
    with torch.no_grad():
        for number, parameter in enumerate(one for one in encoder.parameters() if one.ndim == 1):
            parameter.add_(torch.linspace(-0.2, 0.3, len(parameter)).roll(number))  # biases are zeros after that
    for wanted in ("reference", "triton"):
        monkeypatch.setenv("NLPHUB_KERNELS", wanted)
        dispatch.forget()
        hidden = encoder(packed, rows=rows, noise=Noise(9))
        found.append((hidden, *torch.autograd.grad(hidden.square().sum(), list(encoder.parameters()))))
    for expected, one in zip(*found, strict=True):
        torch.testing.assert_close(one, expected, atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize("operation", dispatch.OPERATIONS)
@pytest.mark.parametrize("dropout", [False, True])
def test_the_probe_of_a_new_device_passes(operation: str, dropout: bool) -> None:
    case = Case("cpu", torch.float32, 26, dropout, 32 if operation == "attention" else 0)
    assert probes.fault(operation, getattr(operators, operation), case) is None


def test_unused_places_of_a_captured_graph_touch_nothing() -> None:
    """They name a sequence without tokens behind the last one, for which there is no row of queries, outputs or sums."""
    layout = Layout((Run(0, 0, 2, 3), Run(6, 2, 1, 5)))
    places = layout.places(torch.device("cpu"))
    more = Layout((), {torch.device("cpu"): Places(
        torch.cat([places.starts, torch.zeros(1, dtype=torch.int32)]), torch.cat([places.lengths, torch.zeros(1, dtype=torch.int32)]),
        torch.tensor([0, 3, 1, 2, 3], dtype=torch.int32), (5, 0, 0, 0, 0),
    )})  # fmt: skip
    rows, keys = torch.randn(11, 3 * 52, requires_grad=True), reference.row_keys(1, 0, 1, torch.arange(3), torch.arange(3))
    found = []
    for where in (layout, more):
        q, k, v = rows.chunk(3, 1)
        buffers = torch.full((8, 52), 7.0)  # rows of queries, and behind them rows of somebody else
        buffers[:3] = q[:3].detach()
        asked = buffers[:3].requires_grad_()
        out = operators.attention(asked, k, v, where, heads=2, dropped=Dropout(0.2, keys))
        found.append((out, *torch.autograd.grad(out.square().sum(), (asked, rows))))
        assert (buffers[3:] == 7.0).all()
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))
