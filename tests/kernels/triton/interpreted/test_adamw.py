"""The steps of AdamW are the reference's, with numbers of the host or of the device, and write copies on the same pass."""

from typing import Any

import pytest
import torch

from nlphub.kernels import reference
from nlphub.kernels.adamw import plain_, plain_all_
from nlphub.kernels.operators import adamw_, adamw_all_
from nlphub.kernels.triton import adamw_all as each

OPTIONS: dict[str, Any] = {"rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "decay": 0.01, "step": 3, "scale": 0.5}


def buffers(length: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(length)
    parameters, gradients, first, second = (torch.randn(length, generator=generator) for _ in range(4))
    return [parameters, gradients, first * 0.1, second.abs() * 0.01]


@pytest.mark.parametrize(
    "changed", [{}, {"step": 1}, {"step": 250, "scale": 1.0}, {"step": 1_000_000}, {"decay": 0.0}, {"beta1": 0.0}], ids=str
)
@pytest.mark.parametrize("length", [1, 1000, 1024, 2049])
def test_it_is_the_references_step(length: int, changed: dict[str, Any]) -> None:
    ours, options = buffers(length), OPTIONS | changed
    exact = [part.double() for part in ours]
    adamw_(*ours, **options)
    reference.adamw_(*exact, **options)
    for found, expected in zip(ours, exact, strict=True):
        torch.testing.assert_close(found.double(), expected, atol=1e-7, rtol=2e-6)


def test_numbers_may_lie_on_the_device() -> None:
    ours, same = buffers(100), buffers(100)
    adamw_(*ours, **OPTIONS)
    there = {"rate": torch.tensor(1e-3), "step": torch.tensor(3), "scale": torch.tensor(0.5, dtype=torch.float64)}
    adamw_(*same, **OPTIONS | there)
    assert all(torch.equal(*pair) for pair in zip(ours, same, strict=True))


@pytest.mark.parametrize(("dtype", "close"), [(torch.float16, 2**-11), (torch.bfloat16, 2**-7), (torch.float32, 0.0)])
def test_the_copy_holds_the_new_parameters(dtype: torch.dtype, close: float) -> None:
    ours, alone, copy = buffers(1500), buffers(1500), torch.zeros(1500, dtype=dtype)
    adamw_(*ours, **OPTIONS, copy=copy)
    adamw_(*alone, **OPTIONS)
    assert torch.equal(ours[0], alone[0])
    torch.testing.assert_close(copy.float(), ours[0], atol=1e-6 if close else 0.0, rtol=close)  # the interpreter cuts bfloat16 off


def test_gradients_may_be_of_lower_precision_and_stay_as_they_are() -> None:
    ours, same = buffers(300), buffers(300)
    ours[1] = ours[1].bfloat16()
    same[1], before = ours[1].float(), ours[1].clone()
    adamw_(*ours, **OPTIONS)
    adamw_(*same, **OPTIONS)
    assert torch.equal(ours[0], same[0])
    assert torch.equal(ours[1], before)


@pytest.mark.parametrize("width", [5, 312, 1100])
def test_some_rows_of_a_matrix(width: int) -> None:
    """Those that are learnt, and no others, as the CPU's optimizer does it: taken out, stepped, put back."""
    generator = torch.Generator().manual_seed(width)
    rows = torch.tensor([2, 3, 11, 40, 16, 0, 29])
    matrix, copy = torch.randn(41, width, generator=generator), torch.zeros(41, width, dtype=torch.float16)
    learnt = [torch.randn(7, width, generator=generator), torch.zeros(7, width), torch.rand(7, width, generator=generator)]
    ours, theirs = ([part.clone() for part in (matrix, *learnt, copy)] for _ in range(2))
    for function, buffers in ((adamw_, ours), (plain_, theirs)):
        function(*buffers[:4], **OPTIONS, rows=rows, copy=buffers[4])
    for found, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(found, expected, atol=2e-7, rtol=1e-3 if found.dtype == torch.float16 else 2e-6)
    others = torch.ones(41, dtype=torch.bool).index_fill_(0, rows, False)
    assert torch.equal(ours[0][others], matrix[others])
    assert ours[4][others].abs().max() == 0


SHAPES = [(3, 4), (16, 8), (1,), (2048,), (33, 50), (0, 7), (64, 48)]


def many(dtype: torch.dtype | None = torch.float16) -> dict[str, list[torch.Tensor]]:
    """Tensors of all sizes; gradients are parts of one buffer, so that some begin anywhere."""
    sizes = [int(torch.Size(shape).numel()) for shape in SHAPES]
    parts = [[one.view(shape).clone() for one, shape in zip(part.split(sizes), SHAPES, strict=True)] for part in buffers(sum(sizes))]
    parts[1] = [one.view(shape) for one, shape in zip(buffers(sum(sizes))[1].split(sizes), SHAPES, strict=True)]
    return {
        **dict(zip(("parameters", "gradients", "first", "second"), parts, strict=True)),
        "steps": [torch.tensor(float(number + 1)) for number in range(len(SHAPES))],
        "copies": [] if dtype is None else [torch.zeros(shape, dtype=dtype) for shape in SHAPES],
    }


def stepped(function: Any, given: dict[str, list[torch.Tensor]], *, halted: float = 0.0, divisor: float | None = 2.0) -> Any:
    rest = {"rate": torch.tensor(1e-3), "halted": torch.tensor(halted), "divisor": None if divisor is None else torch.tensor(divisor)}
    parts = [given[name] for name in ("parameters", "gradients", "first", "second")]
    function(*parts, **rest, steps=given["steps"], copies=given["copies"], beta1=0.9, beta2=0.999, eps=1e-8, decay=0.01)
    return given


@pytest.mark.parametrize("divisor", [None, 2.0])
@pytest.mark.parametrize("dtype", [None, torch.float16, torch.float32])
def test_a_step_of_many_tensors_is_one_of_each(dtype: torch.dtype | None, divisor: float | None) -> None:
    ours, theirs, torchs = (stepped(function, many(dtype), divisor=divisor) for function in (adamw_all_, reference.adamw_all_, plain_all_))
    for name, found in ours.items():
        for one, other, third in zip(found, theirs[name], torchs[name], strict=True):
            rtol = 1e-3 if one.dtype == torch.float16 else 2e-6
            torch.testing.assert_close(one, other, atol=1e-7, rtol=rtol)
            if name != "gradients":  # torch's kernel divides them where they are
                torch.testing.assert_close(one, third, atol=1e-7, rtol=rtol)


def test_a_halted_step_touches_nothing_not_even_with_gradients_that_are_no_numbers() -> None:
    given, before = many(), many()
    for gradient in (*given["gradients"], *before["gradients"]):
        gradient.fill_(torch.nan)
    stepped(adamw_all_, given, halted=1.0)
    for name in ("parameters", "first", "second", "copies"):
        assert all(map(torch.equal, given[name], before[name])), name


def test_what_stands_around_the_tensors_stays() -> None:
    given, around = many(), []
    for name in ("parameters", "first", "second", "copies"):
        for number, one in enumerate(given[name]):
            buffer = torch.full((one.numel() + 32,), 7.0, dtype=one.dtype)
            inner = buffer[16 : 16 + one.numel()]
            given[name][number] = inner.copy_(one.flatten())
            around.append((buffer, one.numel()))
    given["gradients"] = [one.flatten() for one in given["gradients"]]
    stepped(adamw_all_, given)
    assert all((buffer[:16] == 7.0).all() and (buffer[16 + count :] == 7.0).all() for buffer, count in around)


def test_a_table_is_made_once_for_the_same_tensors_and_kept_as_long_as_they_live() -> None:
    given = many()
    stepped(adamw_all_, given)
    held = {id(one): each._tables[one] for one in given["parameters"] if one in each._tables}
    assert len(held) == 2  # those that are read 16 bytes at a time, and the others
    stepped(adamw_all_, given)
    assert all(each._tables[one] is held[id(one)] for one in given["parameters"] if id(one) in held)
    count = len(each._tables)
    given["first"] = [one.clone() for one in given["first"]]
    stepped(adamw_all_, given)
    assert not any(each._tables[one] is held[id(one)] for one in given["parameters"] if id(one) in held)
    assert len(each._tables) == count
    given.clear()
    assert len(each._tables) == count - 2


@pytest.mark.parametrize(
    ("name", "wrong", "why"),
    [
        ("gradients", torch.ones(5), "differ in size"),
        ("first", torch.ones(3, 4).bfloat16(), "must be float32"),
        ("copies", torch.ones(3, 4), "differ in type"),
        ("second", torch.ones(4, 3).T, "contiguous"),
    ],
)
def test_what_the_kernel_would_misread_is_refused(name: str, wrong: torch.Tensor, why: str) -> None:
    given = many()
    given[name][0] = wrong
    with pytest.raises(ValueError, match=why):
        stepped(adamw_all_, given)


def test_buffers_that_stand_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="contiguous"):
        adamw_(torch.ones(8)[::2], *(torch.ones(4) for _ in range(3)), **OPTIONS)


def test_nothing_to_learn() -> None:
    adamw_(*(torch.ones(0) for _ in range(4)), **OPTIONS)
    adamw_(torch.ones(3, 4), *(torch.ones(0, 4) for _ in range(3)), **OPTIONS, rows=torch.ones(0, dtype=torch.int64))
