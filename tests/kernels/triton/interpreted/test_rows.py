"""The kernels over rows compute what the formulas do, with the very masks of the reference; every width, type and number of rows."""

from typing import Any

import pytest
import torch
from torch import Tensor

from nlphub.kernels import formulas, reference
from nlphub.kernels.triton import WIDEST_ROW, launchers, tiles

TYPES = [torch.float32, torch.float16, torch.bfloat16]
SHAPES = [(rows, width, TYPES[0]) for rows, width in ((1, 7), (17, 384), (5, 1024), (9, 1248), (2, 3072))]
SHAPES += [(rows, width, dtype) for rows, width in ((61, 312), (13, 768)) for dtype in TYPES]
TOLERANCE = {torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 2e-2}  # the interpreter cuts bfloat16 off instead of rounding it


def values(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def keys(rows: int) -> Tensor:
    return reference.row_keys(7, 2, 3, torch.arange(rows) // 5, torch.arange(rows) % 5)


def agree(found: Any, expected: Any, dtype: torch.dtype) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        scale = max(1.0, float(other.abs().max())) if other.numel() else 1.0
        torch.testing.assert_close(one.float() / scale, other.float() / scale, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])


@pytest.mark.parametrize(("shifted", "probability"), [(False, 0.0), (True, 0.0), (True, 0.1)])
@pytest.mark.parametrize(("rows", "width", "dtype"), SHAPES)
def test_add_norm(rows: int, width: int, shifted: bool, probability: float, dtype: torch.dtype) -> None:
    x, residual, weight, bias, shift = (values(*shape, dtype=dtype, seed=i) for i, shape in enumerate([(rows, width)] * 2 + [(width,)] * 3))
    rest = (shift if shifted else None, keys(rows) if probability else None, probability)
    found, expected = (module.add_norm(x, residual, weight, bias, *rest, 1e-5) for module in (launchers, formulas))
    agree(found, expected, dtype)
    arguments = (values(rows, width, dtype=dtype, seed=9), x, residual, weight, *expected[1:], *rest)
    agree(launchers.add_norm_backward(*arguments), formulas.add_norm_backward(*arguments), dtype)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("width", [7, 312, 768])
def test_the_gradient_of_a_shift_is_the_sum_of_that_of_its_rows(width: int, dtype: torch.dtype) -> None:
    x, residual, slope = (values(21, width, dtype=dtype, seed=seed) for seed in range(3))
    weight, shift = values(width, seed=3), values(width, seed=4)
    for drawn, probability in ((keys(21), 0.1), (None, 0.0)):
        _, means, factors = launchers.add_norm(x, residual, weight, weight, shift, drawn, probability, 1e-5)
        arguments = (slope, x, residual, weight, means, factors, shift, drawn, probability)
        dx, dresidual, *_, dshift = launchers.add_norm_backward(*arguments)
        rows = (dx if drawn is not None else dresidual).float()
        assert ((dshift - rows.sum(0)).abs() <= torch.finfo(dtype).eps * rows.abs().sum(0) + 1e-5).all()  # of rows that were rounded
        again = launchers.add_norm_backward(*arguments)
        assert all(map(torch.equal, (dx, dresidual, dshift), (again[0], again[1], again[4])))


def test_add_norm_of_two_types_gives_the_wider_one() -> None:
    x, residual, weight, shift = values(6, 40, dtype=torch.float16), values(6, 40, seed=1), values(40, seed=2), values(40, seed=4)
    found, expected = (module.add_norm(x, residual, weight, weight, shift, None, 0.0, 1e-5) for module in (launchers, formulas))
    agree(found, expected, torch.float32)
    arguments = (values(6, 40, seed=3), x, residual, weight, *expected[1:], shift, None, 0.0)
    agree(launchers.add_norm_backward(*arguments), formulas.add_norm_backward(*arguments), torch.float16)


def test_rows_that_stand_apart_in_memory() -> None:
    wide = values(8, 120)
    x, residual, vectors = wide[:, :40], wide[:, 80:], [wide[row, :40] for row in range(3)]
    found, expected = (module.add_norm(x, residual, *vectors, keys(8), 0.3, 1e-5) for module in (launchers, formulas))
    agree(found, expected, torch.float32)


def test_what_stands_beside_a_row_is_not_read() -> None:
    """Rows around are NaN, and so is what stands before and behind the shift: an access beside its own place would carry them in."""
    rows, around = torch.full((7, 40), torch.nan), torch.full((3, 40), torch.nan)
    rows[3], around[1] = values(40), values(40, seed=1)
    shift, drawn = around[1], keys(7)
    out, means, factors = launchers.add_norm(rows, rows, values(40), values(40), shift, drawn, 0.2, 1e-5)
    assert torch.isfinite(out[3]).all()
    assert torch.isnan(out[[2, 4]]).all()
    alone, _, _ = launchers.add_norm(rows[3:4], rows[3:4], values(40), values(40), shift, drawn[3:4], 0.2, 1e-5)
    assert torch.equal(alone[0], out[3])  # to the bit, wherever it is packed
    one = (rows[3:4], values(40), means[3:4], factors[3:4], shift, drawn[3:4], 0.2)
    assert all(torch.isfinite(part).all() for part in launchers.add_norm_backward(rows[3:4], rows[3:4], *one))


@pytest.mark.parametrize("activation", sorted(reference.ACTIVATIONS))
@pytest.mark.parametrize(("rows", "width", "dtype"), [(1, 7, TYPES[0]), (61, 1248, TYPES[0]), *((21, 312, dtype) for dtype in TYPES)])
def test_bias_gelu(rows: int, width: int, activation: str, dtype: torch.dtype) -> None:
    x, bias, slope = values(rows, width, dtype=dtype) * 2, values(width, dtype=dtype, seed=1), values(rows, width, dtype=dtype, seed=2)
    agree([launchers.bias_gelu(x, bias, activation)], [formulas.bias_gelu(x, bias, activation)], dtype)
    found, expected = (module.bias_gelu_backward(slope, x, bias, activation) for module in (launchers, formulas))
    agree(found, expected, dtype)


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("width", [7, 312, 1248])
def test_masks_are_those_of_the_reference_to_the_bit(width: int, probability: float) -> None:
    ones, drawn = torch.ones(19, width), keys(19)
    expected = reference.keep(drawn[:, None], reference.column_keys(torch.arange(width)), probability)
    assert torch.equal(launchers.dropout(ones, drawn, probability) != 0, expected)
    x, weight = values(19, width), torch.ones(width)
    out, means, factors = launchers.add_norm(x, torch.zeros_like(x), weight, weight, None, drawn, probability, 1e-5)
    dropped = -means[:, None] * factors[:, None] + 1.0  # what a zero becomes
    assert torch.equal((out - dropped).abs() > 1e-5, expected & (x.abs() > 1e-4))


@pytest.mark.parametrize("dtype", TYPES)
def test_dropout_scales_what_stays(dtype: torch.dtype) -> None:
    x = values(9, 312, dtype=dtype)
    agree([launchers.dropout(x, keys(9), 0.3)], [formulas.dropout(x, keys(9), 0.3)], dtype)


@pytest.mark.parametrize("seed", [0, 7, 2**31 - 1, 2**40 + 3])
def test_row_keys_are_those_of_the_reference(seed: int) -> None:
    arguments = (torch.tensor(seed), torch.tensor([0, 5, 2**33 + 1, 123456789] * 70), torch.arange(280) % 512, 8, 3)
    assert torch.equal(launchers.row_keys(*arguments), formulas.row_keys(*arguments))


def test_gradients_are_those_of_finite_differences() -> None:
    x, residual, weight, bias, shift = values(4, 24), values(4, 24, seed=1), *(values(24, seed=seed) for seed in (2, 3, 10))
    slope, drawn = values(4, 24, seed=4), keys(4)
    _, means, factors = launchers.add_norm(x, residual, weight, bias, shift, drawn, 0.25, 1e-5)
    gradients = launchers.add_norm_backward(slope, x, residual, weight, means, factors, shift, drawn, 0.25)
    for number, gradient in enumerate(gradients):
        inputs, ends = [x, residual, weight, bias, shift], []
        way = values(*inputs[number].shape, seed=5 + number)
        for sign in (1e-2, -1e-2):
            moved = [part + sign * way if i == number else part for i, part in enumerate(inputs)]
            ends.append(float((launchers.add_norm(*moved, drawn, 0.25, 1e-5)[0] * slope).sum()))
        assert (ends[0] - ends[1]) / 2e-2 == pytest.approx(float((gradient * way).sum()), rel=2e-3, abs=2e-3)


def test_no_rows() -> None:
    nothing, weight = torch.ones(0, 40), torch.ones(40)
    out, means, factors = launchers.add_norm(nothing, nothing, weight, weight, weight, None, 0.0, 1e-5)
    assert (out.shape, means.shape) == ((0, 40), (0,))
    _, dresidual, dweight, _, dshift = launchers.add_norm_backward(nothing, nothing, nothing, weight, means, factors, weight, None, 0.0)
    assert (len(dresidual), float(dweight.abs().max()), float(dshift.abs().max())) == (0, 0.0, 0.0)
    dx, dbias = launchers.bias_gelu_backward(nothing, nothing, weight, "gelu")
    assert (len(dx), float(dbias.abs().max())) == (0, 0.0)
    assert launchers.bias_gelu(nothing, weight, "gelu").shape == launchers.dropout(nothing, keys(0), 0.5).shape == (0, 40)


def test_sums_of_columns_are_made_in_one_order() -> None:
    partial = values(131, 3, 77)
    found = tiles.sum_columns(partial, (torch.float32,) * 3)
    torch.testing.assert_close(torch.stack(found), partial.sum(0))
    assert all(torch.equal(*pair) for pair in zip(found, tiles.sum_columns(partial, (torch.float32,) * 3), strict=True))


def test_rows_that_are_too_wide_are_refused() -> None:
    with pytest.raises(ValueError, match="wider than 8192"):
        tiles.tile(WIDEST_ROW + 1)
