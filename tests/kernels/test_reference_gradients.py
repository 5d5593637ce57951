"""All definitions have the gradients that finite differences find, and the written-out formulas are the same functions."""

import pytest
import torch
from torch import Tensor

from nlphub.kernels import Layout, formulas, reference
from nlphub.kernels.layout import Run
from nlphub.kernels.reference import Dropout

LAYOUT = Layout((Run(0, 0, 2, 2), Run(4, 2, 1, 5), Run(9, 3, 1, 1)))
ROWS, SEQUENCES = 10, 4


def values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def dropped(rows: int, probability: float) -> Dropout | None:
    return Dropout(probability, reference.row_keys(3, 1, 2, torch.arange(rows), torch.arange(rows))) if probability else None


@pytest.mark.parametrize("probability", [0.0, 0.4])
@pytest.mark.parametrize("queries", [ROWS, SEQUENCES])
def test_attention(queries: int, probability: float) -> None:
    inputs = [values(rows, 6, seed=seed) for seed, rows in enumerate((queries, ROWS, ROWS))]
    noise = dropped(queries, probability)
    assert torch.autograd.gradcheck(lambda q, k, v: reference.attention(q, k, v, LAYOUT, heads=2, dropped=noise), inputs)


@pytest.mark.parametrize("probability", [0.0, 0.4])
@pytest.mark.parametrize("shifted", [False, True])
def test_add_norm(shifted: bool, probability: float) -> None:
    inputs = [values(3, 7), values(3, 7, seed=1), *(values(7, seed=seed) for seed in (range(2, 5) if shifted else range(2, 4)))]
    noise = dropped(3, probability)

    def seam(x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor, shift: Tensor | None = None) -> Tensor:
        return reference.add_norm(x, residual, weight, bias, eps=1e-5, dropped=noise, shift=shift)

    assert torch.autograd.gradcheck(seam, inputs)


def test_a_shift_is_added_before_dropout() -> None:
    x, residual, weight, bias, shift = values(3, 7), values(3, 7, seed=1), *(values(7, seed=seed) for seed in (2, 3, 4))
    expected = reference.add_norm(x + shift, residual, weight, bias, eps=1e-5, dropped=dropped(3, 0.4))
    assert torch.equal(reference.add_norm(x, residual, weight, bias, eps=1e-5, dropped=dropped(3, 0.4), shift=shift), expected)


@pytest.mark.parametrize("activation", sorted(reference.ACTIVATIONS))
def test_bias_gelu(activation: str) -> None:
    assert torch.autograd.gradcheck(lambda x, b: reference.bias_gelu(x, b, activation=activation), [values(4, 5), values(5, seed=1)])


def test_dropout() -> None:
    noise = dropped(4, 0.4)
    assert torch.autograd.gradcheck(lambda x: reference.dropout(x, noise), [values(4, 9)])


@pytest.mark.parametrize("probability", [0.0, 0.4])
@pytest.mark.parametrize("queries", [ROWS, SEQUENCES])
def test_the_formulas_of_attention_are_autograds(queries: int, probability: float) -> None:
    inputs = [values(rows, 6, seed=seed) for seed, rows in enumerate((queries, ROWS, ROWS))]
    noise, places = dropped(queries, probability), LAYOUT.places(torch.device("cpu"))
    rest = (places.starts, places.lengths, places.order, places.counts, 2, noise.keys if noise else None, probability)
    expected = reference.attention(*inputs, LAYOUT, heads=2, dropped=noise)
    slope, plain = values(queries, 6, seed=9).detach(), [part.detach() for part in inputs]
    found, lse = formulas.attention(*plain, *rest)
    gradients = [torch.empty_like(part) for part in plain]
    formulas.attention_backward(slope, *plain, lse, *rest, out=gradients)
    torch.testing.assert_close(found, expected)
    for one, other in zip(gradients, torch.autograd.grad(expected, inputs, slope), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("probability", [0.0, 0.4])
@pytest.mark.parametrize("shifted", [False, True])
def test_the_formulas_of_add_norm_are_autograds(shifted: bool, probability: float) -> None:
    inputs = [values(3, 7), values(3, 7, seed=1), *(values(7, seed=seed) for seed in (2, 3, 4))]
    noise, shift = dropped(3, probability), inputs[4] if shifted else None
    expected = reference.add_norm(*inputs[:4], eps=1e-5, dropped=noise, shift=shift)
    slope, keys, plain = values(3, 7, seed=9).detach(), noise.keys if noise else None, [part.detach() for part in inputs]
    rest = (shift.detach() if shift is not None else None, keys, probability)
    found, means, factors = formulas.add_norm(*plain[:4], *rest, 1e-5)
    torch.testing.assert_close(found, expected)
    dx, dresidual, *gradients = formulas.add_norm_backward(slope, *plain[:3], means, factors, *rest)
    assert (len(dx), len(gradients[2])) == (3 if probability else 0, 7 if shifted else 0)
    found = [dx if probability else dresidual, dresidual, *gradients[: 3 if shifted else 2]]  # without dropout: that of the residual
    for one, other in zip(found, torch.autograd.grad(expected, inputs[: len(found)], slope), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("activation", sorted(reference.ACTIVATIONS))
def test_the_formulas_of_bias_gelu_are_autograds(activation: str) -> None:
    x, bias, slope = values(4, 5), values(5, seed=1), values(4, 5, seed=2).detach()
    expected = reference.bias_gelu(x, bias, activation=activation)
    torch.testing.assert_close(formulas.bias_gelu(x.detach(), bias.detach(), activation), expected)
    gradients = formulas.bias_gelu_backward(slope, x.detach(), bias.detach(), activation)
    for one, other in zip(gradients, torch.autograd.grad(expected, (x, bias), slope), strict=True):
        torch.testing.assert_close(one, other)


def test_keys_of_all_sites_are_those_of_each() -> None:
    examples, positions = torch.tensor([5, 2**33 + 1, 0]), torch.tensor([0, 7, 511])
    seed = torch.tensor(2**40 + 3)
    keys = formulas.row_keys(seed, examples, positions, 8, 3)
    for layer in range(3):
        for site in reference.Site:
            assert torch.equal(keys[layer, site], reference.row_keys(2**40 + 3, 8 + layer, site, examples, positions))
