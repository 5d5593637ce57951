"""The CPU route computes what the reference defines, values and gradients, with and without dropout."""

import math

import pytest
import torch
from torch import Tensor

from nlphub import kernels
from nlphub.kernels import Draws, Layout, Noise, Site, cpu, reference

LENGTHS = [[1], [7], [3, 3, 3], [1, 1, 2, 5, 5, 9, 40], [9, 2, 2, 9, 31, 1], [130, 131]]


def qkv(rows: int, queries: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """As in the encoder: keys and values are columns of one tensor."""
    generator = torch.Generator().manual_seed(rows)
    fused = torch.randn(rows, 3 * width, generator=generator, requires_grad=True)
    q, k, v = fused.chunk(3, dim=1)
    return (q if queries == rows else q[:queries]), k, v


@pytest.mark.parametrize("probability", [0.0, 0.3])
@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_the_cpu_route_agrees_with_the_reference(batch, lengths, single, probability):
    packed = batch(lengths)
    draws = Draws.of(Noise(11), packed)
    draws = draws.take(packed.cls_rows) if single else draws
    dropped = draws.dropout(probability, layer=2, site=Site.ATTENTION)
    outputs = []
    for route in (reference, cpu):
        q, k, v = qkv(sum(lengths), len(lengths) if single else sum(lengths), 24)
        out = route.attention(q, k, v, Layout.of(packed), heads=3, dropped=dropped)
        gradients = torch.autograd.grad((out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum(), (q, k, v))
        outputs.append((out, *gradients))
    for expected, found in zip(*outputs, strict=True):
        torch.testing.assert_close(found, expected, atol=2e-6, rtol=1e-5)


def test_the_reference_is_the_formula_of_the_paper(batch):
    packed = batch([3, 2])
    q, k, v = (part.detach() for part in qkv(5, 5, 8))
    out = reference.attention(q, k, v, Layout.of(packed), heads=2)
    for rows in (range(3), range(3, 5)):
        for head in range(2):
            columns = slice(4 * head, 4 * head + 4)
            for query in rows:
                scores = [float(q[query, columns] @ k[key, columns]) / math.sqrt(4) for key in rows]
                total = sum(map(math.exp, scores))
                expected = sum(math.exp(score) / total * v[key, columns] for score, key in zip(scores, rows, strict=True))
                torch.testing.assert_close(out[query, columns], expected, atol=1e-6, rtol=1e-5)


def test_a_sequence_does_not_see_its_neighbours(batch):
    packed = batch([4, 4, 6])
    q, k, v = (part.detach().clone() for part in qkv(14, 14, 24))
    before = kernels.attention(q, k, v, Layout.of(packed), heads=3)
    k[:4], v[:4], q[8:] = torch.nan, torch.nan, torch.nan
    after = kernels.attention(q, k, v, Layout.of(packed), heads=3)
    assert torch.equal(after[4:8], before[4:8])


def test_a_layout_is_made_of_runs_of_equal_lengths(batch):
    runs = Layout.of(batch([2, 2, 5, 2])).runs
    assert [(run.row, run.sequence, run.count, run.length) for run in runs] == [(0, 0, 2, 2), (4, 2, 1, 5), (9, 3, 1, 2)]
