"""The registered operators: schemas, fake tensors, autograd, tracing, and that q, k and v out of one product are given back as one."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nlphub import kernels
from nlphub.kernels import Layout, operators, reference
from nlphub.kernels.layout import Run
from nlphub.kernels.reference import Dropout

LAYOUT = Layout((Run(0, 0, 2, 2), Run(4, 2, 1, 5)))
ROWS, SEQUENCES, HEADS, WIDTH = 9, 3, 2, 6


def values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def keys(rows: int) -> Tensor:
    return reference.row_keys(3, 1, 2, torch.arange(rows), torch.arange(rows))


def cases() -> dict[str, tuple[Any, tuple[Any, ...]]]:
    ops, places = torch.ops.nlphub, LAYOUT.places(torch.device("cpu"))
    where = (places.starts, places.lengths, places.order, places.counts, HEADS)
    norm = (values(4, 6), values(4, 6, seed=1))
    flat = [*(torch.ones(8) for _ in range(4)), None]
    numbers = (torch.tensor(1e-3), torch.tensor(2.0), torch.tensor(1.0), 0.9, 0.999, 1e-8, 0.01)
    many = [[torch.ones(2, 3), torch.ones(4)] for _ in range(4)]
    each = ([torch.tensor(2.0), torch.tensor(3.0)], torch.tensor(1e-3), torch.tensor(1.0), torch.tensor(0.0), 0.9, 0.999, 1e-8, 0.01)
    weight, bias = values(6, seed=2), values(6, seed=3)
    return {
        "attention": (ops.attention, (values(ROWS, 3 * WIDTH), *where, keys(ROWS), 0.3)),
        "attention without dropout": (ops.attention, (values(ROWS, 3 * WIDTH), *where, None, 0.0)),
        "attention of one row each": (
            ops.attention_single,
            (values(SEQUENCES, WIDTH), values(ROWS, 2 * WIDTH), *where, keys(SEQUENCES), 0.3),
        ),
        "add_norm": (ops.add_norm, (*norm, weight, bias, values(6, seed=4), keys(4), 0.3, 1e-5)),
        "add_norm alone": (ops.add_norm, (*norm, weight, bias, None, None, 0.0, 1e-5)),
        "add_norm of a shift alone": (ops.add_norm, (*norm, weight, bias, values(6, seed=4), None, 0.0, 1e-5)),
        "add_norm without a shift": (ops.add_norm, (*norm, weight, bias, None, keys(4), 0.3, 1e-5)),
        "bias_gelu": (ops.bias_gelu, (values(4, 6), bias, "gelu")),
        "bias_relu": (ops.bias_gelu, (values(4, 6), bias, "relu")),
        "dropout": (ops.dropout, (values(4, 6), keys(4), 0.3)),
        "adamw_": (ops.adamw_, (*flat, *numbers)),
        "adamw_ with a copy": (ops.adamw_, (*flat[:4], torch.zeros(8, dtype=torch.bfloat16), *numbers)),
        "adamw_ of some rows": (
            ops.adamw_rows_,
            (torch.ones(6, 4), torch.tensor([1, 4]), *(torch.ones(2, 4) for _ in range(3)), None, *numbers),
        ),
        "adamw_ of many": (ops.adamw_all_, (*many, [torch.zeros(2, 3).bfloat16(), torch.zeros(4).bfloat16()], *each)),
        "adamw_ of many without copies": (ops.adamw_all_, (*many, [], *each)),
        "row_keys": (ops.row_keys, (torch.tensor(5), torch.arange(4), torch.arange(4), 0, 3)),
    }


@pytest.mark.parametrize("name", cases())
def test_what_is_registered_holds(name: str) -> None:
    operator, arguments = cases()[name]
    tests = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_static")
    torch.library.opcheck(operator.default, arguments, test_utils=tests)


@pytest.mark.parametrize("probability", [0.0, 0.3])
@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_attention_is_the_references(fused: bool, single: bool, probability: float) -> None:
    whole, apart = values(ROWS, 3 * WIDTH), [values(ROWS, WIDTH, seed=seed) for seed in range(3)]
    count = SEQUENCES if single else ROWS
    dropped = Dropout(probability, keys(count)) if probability else None
    inputs, outputs = ([whole] if fused else apart), []
    for route in (reference, operators):
        q, k, v = whole.chunk(3, 1) if fused else apart
        out = route.attention(q[:count], k, v, LAYOUT, heads=HEADS, dropped=dropped)
        outputs.append((out, *torch.autograd.grad(out.square().sum(), inputs)))
    for expected, found in zip(*outputs, strict=True):
        torch.testing.assert_close(found, expected)


def test_columns_of_one_tensor_are_that_tensor() -> None:
    whole = values(ROWS, 3 * WIDTH) * 1.0
    assert operators.joined(*whole.chunk(3, 1)) is whole
    assert operators.joined(*whole.detach().chunk(3, 1)).data_ptr() == whole.data_ptr()
    with torch.inference_mode():
        inside = torch.ones(ROWS, 3 * WIDTH)
        assert operators.joined(*inside.chunk(3, 1)).data_ptr() == inside.data_ptr()


def test_other_columns_are_copied() -> None:
    whole = values(ROWS, 3 * WIDTH) * 1.0
    q, k, v = whole.chunk(3, 1)
    with torch.no_grad():
        still = whole.chunk(3, 1)
    wrong = {
        "another order": (k, q, v), "one detached": (q, k.detach(), v), "views without a gradient": still,
        "two of three": (q, k), "other memory": (q, k, v * 1.0), "fewer rows": tuple(part[2:] for part in (q, k, v)),
    }  # fmt: skip
    for name, parts in wrong.items():
        found = operators.joined(*parts)
        assert torch.equal(found, torch.cat(parts, 1)), name
        assert found.requires_grad == any(part.requires_grad for part in parts), name
    (gradient,) = torch.autograd.grad(operators.joined(q, k.detach(), v).sum(), whole)
    assert gradient[:, WIDTH : 2 * WIDTH].abs().max() == 0


def test_mixed_types_give_the_wider_one() -> None:
    x, residual, weight, shift = values(4, 6).detach().bfloat16(), values(4, 6, seed=1).detach(), torch.ones(6), values(6, seed=2)
    out = operators.add_norm(x, residual, weight, weight, eps=1e-5, shift=shift)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, reference.add_norm(x.float(), residual, weight, weight, eps=1e-5, shift=shift))
    (gradient,) = torch.autograd.grad(out.square().sum(), shift)
    assert gradient.dtype == torch.float32


def test_an_exported_program_holds_the_operator_with_any_number_of_rows() -> None:
    class Seam(nn.Module):
        def forward(self, x: Tensor, residual: Tensor, weight: Tensor) -> Tensor:
            return operators.bias_gelu(operators.add_norm(x, residual, weight, weight, eps=1e-5), weight)

    rows = torch.export.Dim("rows", min=2, max=64)
    inputs = (values(4, 6).detach(), values(4, 6, seed=1).detach(), torch.ones(6))
    program = torch.export.export(Seam(), inputs, dynamic_shapes=({0: rows}, {0: rows}, None))
    assert {"nlphub.add_norm.default", "nlphub.bias_gelu.default"} <= {str(node.target) for node in program.graph.nodes}
    more = (values(7, 6).detach(), values(7, 6, seed=1).detach(), torch.ones(6))
    torch.testing.assert_close(program.module()(*more), Seam()(*more))


def test_keys_are_made_for_several_layers_at_once_and_kept() -> None:
    made: dict[int, Tensor] = {}
    examples, positions = torch.arange(5), torch.arange(5) % 2
    for seed in (2**40 + 3, torch.tensor(2**40 + 3)):
        for layer in (0, 7, 8, 12):
            found = operators.row_keys(seed, layer, 2, examples, positions, made=made)
            assert torch.equal(found, reference.row_keys(2**40 + 3, layer, 2, examples, positions))
    assert sorted(made) == [0, 8]


def test_the_optimizers_step_is_the_references() -> None:
    options: dict[str, Any] = {"rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "decay": 0.01, "step": 3, "scale": 0.5}
    ours, theirs, exact = ([values(40, seed=seed).detach().abs() for seed in range(4)] for _ in range(3))
    copy = torch.zeros(40, dtype=torch.bfloat16)
    operators.adamw_(*ours, **options, copy=copy)
    kernels.adamw_(*theirs, **options)
    reference.adamw_(*exact, **options)
    for one, other, expected in zip(ours, theirs, exact, strict=True):
        torch.testing.assert_close(one, expected)
        assert torch.equal(other, expected)
    assert torch.equal(copy, ours[0].bfloat16())


def test_rows_that_are_not_learnt_stay() -> None:
    options: dict[str, Any] = {"rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "decay": 0.01, "step": 3}
    matrix, copy, rows = torch.ones(5, 4), torch.zeros(5, 4, dtype=torch.bfloat16), torch.tensor([3, 1])
    kernels.adamw_(matrix, *(torch.full((2, 4), 0.5) for _ in range(3)), **options, rows=rows, copy=copy)
    assert (matrix[[0, 2, 4]] == 1).all()
    assert (copy[[0, 2, 4]] == 0).all()
    assert (matrix[[1, 3]] < 1).all()
    assert torch.equal(copy[[1, 3]], matrix[[1, 3]].bfloat16())
