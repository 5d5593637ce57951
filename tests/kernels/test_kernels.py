"""The pointwise kernels, and what explain() tells."""

import pytest
import torch
from torch.nn import functional as F

from nlphub import kernels
from nlphub.kernels import Dropout, cpu, reference


@pytest.mark.parametrize("probability", [0.0, 0.2])
@pytest.mark.parametrize("shifted", [False, True])
def test_add_norm_agrees_with_the_reference(shifted, probability):
    keys = reference.row_keys(1, 0, 2, torch.arange(9), torch.arange(9))
    outputs = []
    for route in (reference, cpu):
        generator = torch.Generator().manual_seed(0)
        shapes = ((9, 16), (9, 16), *[(16,)] * (3 if shifted else 2))
        parts = [torch.randn(*shape, generator=generator, requires_grad=True) for shape in shapes]
        options = {"dropped": Dropout(probability, keys) if probability else None, "shift": parts[4] if shifted else None}
        out = route.add_norm(*parts[:4], eps=1e-5, **options)
        outputs.append((out, *torch.autograd.grad(out.square().sum(), parts)))
    for expected, found in zip(*outputs, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("activation", sorted(kernels.ACTIVATIONS))
def test_bias_gelu_agrees_with_the_reference_and_with_torch(activation):
    x, bias = torch.linspace(-6, 6, 60).view(6, 10), torch.linspace(-0.5, 0.5, 10)
    expected = getattr(F, activation)(x + bias)
    for route in (reference, cpu):
        torch.testing.assert_close(route.bias_gelu(x.clone(), bias, activation=activation), expected, atol=1e-6, rtol=1e-5)


def test_the_gradient_passes_through_the_overwritten_product():
    x, bias = torch.randn(4, 8, dtype=torch.float64, requires_grad=True), torch.randn(8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, bias: kernels.bias_gelu(x * 1.0, bias), (x, bias))


def test_explain_names_route_device_and_version():
    text = kernels.explain()
    assert "cpu" in text
    assert "float32" in text
    assert torch.__version__ in text
    elsewhere = kernels.explain("cuda", dtype=torch.bfloat16, width=26, longest=64, dropout=True)
    assert all(operation in elsewhere for operation in ("attention", "add_norm", "bias_gelu", "dropout"))
    assert "cuda, bfloat16, heads of 26, up to 64 tokens, with dropout" in elsewhere
