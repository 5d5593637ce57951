"""The built-in route of CUDA devices, with PyTorch's operators played by the reference: what they are given and what is made of it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from nlphub.kernels import Layout, builtin, reference
from nlphub.kernels.layout import Run
from nlphub.kernels.reference import Dropout

LAYOUT = Layout((Run(0, 0, 2, 3), Run(6, 2, 1, 5)))
ROWS, SEQUENCES, HEADS = 11, 3, 2


def rows(count: int, width: int, seed: int) -> Tensor:
    return torch.randn(count, HEADS * width, generator=torch.Generator().manual_seed(seed), requires_grad=True)


def played(seen: list[dict[str, Any]]) -> Callable[..., Any]:
    """Both operators: softmax of each sequence between boundaries, as FlashAttention's, on ``(t, h, k)``."""

    def attend(q: Tensor, k: Tensor, v: Tensor, asked: Tensor, ends: Tensor, most_q: int, most_k: int, *rest: Any, scale: float) -> Any:
        seen.append({"width": q.shape[2], "most": (most_q, most_k), "ends": ends.tolist(), "asked": asked.tolist(), "rest": rest})
        parts = []
        for sequence in range(len(ends) - 1):
            mine, keys = slice(asked[sequence], asked[sequence + 1]), slice(ends[sequence], ends[sequence + 1])
            weights = torch.softmax(torch.einsum("qhk,nhk->hqn", q[mine], k[keys]) * scale, -1)
            parts.append(torch.einsum("hqn,nhk->qhk", weights, v[keys]))
        out = torch.cat(parts)
        return (out, None) if rest else out

    return attend


@pytest.mark.parametrize("width", [8, 26])
@pytest.mark.parametrize("count", [ROWS, SEQUENCES])
@pytest.mark.parametrize("name", ["varlen", "flash"])
def test_any_width_and_one_query_each(name: str, count: int, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", played(seen))
    monkeypatch.setattr(torch.ops.aten, "_flash_attention_forward", played(seen))
    inputs, outputs = [rows(count, width, 0), rows(ROWS, width, 1), rows(ROWS, width, 2)], []
    for function in (reference.attention, getattr(builtin, name)):
        out = function(*inputs, LAYOUT, heads=HEADS)
        outputs.append((out, *torch.autograd.grad(out.square().sum(), inputs)))
    for expected, found in zip(*outputs, strict=True):
        torch.testing.assert_close(found, expected)
    single = count == SEQUENCES
    assert seen[0]["width"] == {8: 8, 26: 32}[width]
    assert seen[0]["ends"] == [0, 3, 6, 11]
    assert (seen[0]["asked"], seen[0]["most"]) == (([0, 1, 2, 3], (1, 5)) if single else ([0, 3, 6, 11], (5, 5)))


def test_flash_is_given_the_probability(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr(torch.ops.aten, "_flash_attention_forward", played(seen))
    dropped = Dropout(0.25, torch.zeros(ROWS, dtype=torch.int32))
    builtin.flash(*(rows(ROWS, 8, seed) for seed in range(3)), LAYOUT, heads=HEADS, dropped=dropped)
    assert seen[0]["rest"] == (0.25, False, False)


def test_varlen_refuses_dropout() -> None:
    dropped = Dropout(0.25, torch.zeros(ROWS, dtype=torch.int32))
    with pytest.raises(ValueError, match="no dropout"):
        builtin.varlen(*(rows(ROWS, 8, seed) for seed in range(3)), LAYOUT, heads=HEADS, dropped=dropped)


def test_the_private_operator_is_called_as_it_is_declared() -> None:
    """Nobody promises that ``aten::_flash_attention_forward`` stays as it is: positions and names that are relied on."""
    arguments = torch.ops.aten._flash_attention_forward.default._schema.arguments
    names = [argument.name for argument in arguments if not argument.kwarg_only]
    assert names == ["query", "key", "value", "cum_seq_q", "cum_seq_k", "max_q", "max_k", "dropout_p", "is_causal", "return_debug_mask"]
    assert "scale" in {argument.name for argument in arguments if argument.kwarg_only}
