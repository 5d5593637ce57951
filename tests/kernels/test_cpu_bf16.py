"""In bfloat16 the CPU route takes plain products for short sequences; it agrees with the reference and with its gradients."""

import pytest
import torch

from nlphub.kernels import Layout, cpu, reference
from nlphub.kernels.layout import Run


def layout(*shape: tuple[int, int]) -> Layout:
    runs, row, sequence = [], 0, 0
    for count, length in shape:
        runs.append(Run(row, sequence, count, length))
        row, sequence = row + count * length, sequence + count
    return Layout(tuple(runs))


@pytest.mark.parametrize("single", [False, True])
def test_attention_and_its_gradients_agree_with_float32(single: bool) -> None:
    torch.manual_seed(0)
    where = layout((2, 5), (3, 9), (1, 300))
    rows, sequences = 2 * 5 + 3 * 9 + 300, 6
    exact = [torch.randn(sequences if single and i == 0 else rows, 24, requires_grad=True) for i in range(3)]
    rounded = [tensor.detach().bfloat16().requires_grad_() for tensor in exact]
    slow = reference.attention(*exact, where, heads=3)
    fast = cpu.attention(*rounded, where, heads=3)
    assert fast.dtype == torch.bfloat16
    torch.testing.assert_close(fast.float(), slow, atol=0.03, rtol=0.03)
    slow.square().sum().backward()
    fast.float().square().sum().backward()
    for ours, theirs in zip(rounded, exact, strict=True):
        assert torch.cosine_similarity(ours.grad.float().flatten(), theirs.grad.flatten(), dim=0) > 0.999


def test_the_gradient_of_many_runs_equals_the_reference() -> None:
    torch.manual_seed(0)
    where = layout((3, 2), (1, 7), (2, 4))
    ours = [torch.randn(21, 12, requires_grad=True) for _ in range(3)]
    theirs = [tensor.detach().clone().requires_grad_() for tensor in ours]
    cpu.attention(*ours, where, heads=2).square().sum().backward()
    reference.attention(*theirs, where, heads=2).square().sum().backward()
    for fast, slow in zip(ours, theirs, strict=True):
        torch.testing.assert_close(fast.grad, slow.grad)
