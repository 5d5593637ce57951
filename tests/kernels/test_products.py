"""Linear layers of training steps in C++ agree with the reference, for any shape, batch and number of threads."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from nlphub.kernels import cpu, native, reference
from nlphub.kernels.native import products

# below, at and above: tiles of 9 x 48 and of 6 x 16 numbers, blocks of 320 along the depth, and what is worth a second thread
SHAPES = [
    (1, 1, 1),
    (1, 5, 1),
    (7, 1, 3),
    (3, 17, 33),
    (10, 48, 100),
    (37, 320, 16),
    (64, 321, 50),
    (19, 641, 300),
    (130, 312, 936),
    (2, 700, 2),
]
EMPTY = [(0, 4, 5), (3, 0, 5), (3, 4, 0)]  # no rows; nothing in them; nothing wanted
OPERATIONS = ["linear", "linear_gelu"]
pytestmark = pytest.mark.usefixtures("compiled")


def with_gradients(function: Callable[..., Tensor], *given: Tensor) -> list[Tensor]:
    parts = [tensor.clone().requires_grad_() for tensor in given]
    out = function(*parts)
    slope = normal(*out.shape, seed=3).to(out.dtype)
    return [out.detach(), *torch.autograd.grad(out, parts, slope)]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def layer(t: int, k: int, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, weight and bias."""
    return normal(t, k), normal(n, k, seed=1) / max(k, 1) ** 0.5, normal(n, seed=2)


def agree(operation: str, given: tuple[Tensor, ...]) -> None:
    """With the reference in double precision, up to the rounding of float32 sums; the largest number is the measure."""
    found = with_gradients(getattr(native, operation), *given)
    exact = with_gradients(getattr(reference, operation), *(part.double() for part in given))
    for one, other in zip(found, exact, strict=True):
        assert one.shape == other.shape
        assert one.dtype == torch.float32
        if one.numel():
            assert ((one - other).abs().max() / max(other.abs().max(), 1e-3)).item() < 3e-6


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("shape", [*SHAPES, *EMPTY], ids=str)
def test_values_and_gradients_agree_with_the_reference(shape, operation):
    given = layer(*shape)
    assert getattr(native, operation)(*(part.clone().requires_grad_() for part in given)).grad_fn.name().startswith("Linear")
    agree(operation, given)
    if operation == "linear":
        agree(operation, given[:2])  # without a bias


@pytest.mark.parametrize("operation", OPERATIONS)
def test_matrices_are_read_as_they_lie(operation):
    x, weight, bias = normal(20, 2 * 40)[:, 40:], normal(3 * 50, 40, seed=1)[50:100], normal(2 * 50, seed=2)[::2]
    wide = {
        "rows with gaps, part of a weight, every other number": (x, weight, bias),
        "turned": (normal(40, 20).t(), normal(40, 50).t(), bias),
    }
    for given in wide.values():
        found, expected = (with_gradients(lambda x, w, b, r=route: getattr(r, operation)(x, w, b), *given) for route in (native, reference))
        even = with_gradients(getattr(native, operation), *(part.contiguous() for part in given))
        assert all(map(torch.equal, found, even))
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_row_has_the_same_bits_in_every_batch(operation):
    x, weight, bias = layer(100, 350, 130)
    weight.requires_grad_()
    whole = getattr(native, operation)(x, weight, bias)
    for part in (slice(0, 1), slice(17, 26), slice(3, 97)):
        assert torch.equal(getattr(native, operation)(x[part], weight, bias), whole[part])


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("shape", [(97, 312, 940), (300, 640, 30), (5, 2000, 700)], ids=str)
def test_any_number_of_threads_gives_the_same_bits(shape, operation, threads):
    outputs = []
    for number in (1, 2, 3, 4, 7):
        threads(number)
        outputs.append(with_gradients(getattr(native, operation), *layer(*shape)))
    for other in outputs[1:]:
        assert all(map(torch.equal, outputs[0], other))


def test_small_products_after_large_ones_find_no_numbers_of_theirs():
    agree("linear", tuple(part * 1e6 for part in layer(200, 640, 700)))
    for shape in ((2, 3, 4), (11, 330, 5)):
        agree("linear", layer(*shape))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_only_the_gradients_that_are_asked_for_are_made(operation):
    for wanted in range(1, 8):
        given = [part.clone().requires_grad_(bool(wanted & 1 << place)) for place, part in enumerate(layer(5, 16, 32))]
        getattr(native, operation)(*given).sum().backward()
        assert [part.grad is not None for part in given] == [bool(wanted & 1 << place) for place in range(3)]
        every = [part.detach().clone().requires_grad_() for part in given]
        getattr(native, operation)(*every).sum().backward()
        assert all(torch.allclose(one.grad, other.grad, atol=1e-6) for one, other in zip(given, every, strict=True) if one.grad is not None)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_number_that_is_none_is_not_hidden(operation):
    x, weight, bias = layer(12, 20, 50)
    x[3, 7] = torch.nan
    x[8, 0] = torch.inf
    expected, found = (getattr(route, operation)(x.clone().requires_grad_(), weight, bias) for route in (reference, native))
    assert found[3].isnan().all()
    assert not found[8].isfinite().any()
    assert torch.equal(found.isnan(), expected.isnan())


def test_everything_else_goes_to_torch(monkeypatch):
    monkeypatch.setattr(products, "product", lambda *given, **options: pytest.fail("our products were asked"))
    x, weight, bias = layer(5, 16, 32)
    learnt = weight.clone().requires_grad_()
    for operation in OPERATIONS:
        function = getattr(native, operation)
        function(x.expand(2, 5, 16), learnt, bias)  # padded
        assert function(x.double(), learnt.double(), bias.double()).dtype == torch.float64
        assert torch.equal(function(x, weight, bias), getattr(cpu, operation)(x, weight, bias))  # nobody learns
        with torch.no_grad():
            function(x, learnt, bias)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert native.linear(x, learnt).dtype == torch.bfloat16
    assert torch.equal(native.linear_gelu(x, learnt, bias, activation="relu"), cpu.linear_gelu(x, learnt, bias, activation="relu"))
