"""The attention kernels compute what the reference defines, values and gradients, whatever lies beside a sequence.

Every call takes sequences of all critical lengths: around the powers of 2 at which tiles change, and 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from nlphub.kernels import Dropout, Layout, reference
from nlphub.kernels.layout import BUCKETS, Run
from nlphub.kernels.triton import attention, plan

LENGTHS = (1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256)
FEW = (2, 33, 16, 130, 17)  # one of each tile but one; with float32, the longest takes its keys in blocks
EXACT = {torch.float32: 3e-6, torch.float16: 3e-3}
SMALL_CHIP = 99 * 1024


def layout_of(lengths: Sequence[int]) -> Layout:
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    return Layout(tuple(Run(start, i, 1, length) for i, (start, length) in enumerate(zip(starts, lengths, strict=True))))


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One batch: inputs, the gradient of the outputs, dropout."""

    lengths: tuple[int, ...]
    heads: int
    q: Tensor
    k: Tensor
    v: Tensor
    grad: Tensor
    dropped: Dropout | None

    @classmethod
    def of(
        cls, lengths: Sequence[int], *, width: int, heads: int = 1, dtype: torch.dtype = torch.float32, p: float = 0.0, single: bool = False
    ) -> "Case":
        generator = torch.Generator().manual_seed(width)
        rows, d = sum(lengths), heads * width
        queries = len(lengths) if single else rows
        q, k, v = torch.randn(rows, 3 * d, generator=generator).to(dtype).chunk(3, dim=1)
        q, grad = (torch.randn(queries, d, generator=generator).to(dtype) if single else q), torch.randn(queries, d, generator=generator)
        keys = torch.randint(-(2**31), 2**31, (queries,), generator=generator).to(torch.int32)
        return cls(tuple(lengths), heads, q, k, v, grad.to(dtype), Dropout(p, keys) if p else None)

    def computed(self, *, only: int | None = None, **options: Any) -> tuple[Tensor, ...]:
        """Outputs and the three gradients, by the kernels; of all sequences or of one."""
        places = layout_of(self.lengths).places(torch.device("cpu"))
        order, counts = places.order, places.counts
        if only is not None:
            order = torch.tensor([only], dtype=torch.int32)
            counts = [int(bucket == min(b for b in BUCKETS if b >= self.lengths[only])) for bucket in BUCKETS]
        where = (places.starts, places.lengths, order)
        noise = {"probability": self.dropped.probability, "row_keys": self.dropped.keys} if self.dropped else {}
        same = {"counts": counts, "heads": self.heads, **noise}
        out, lse = attention.forward(self.q, self.k, self.v, *where, **same)
        return out, *attention.backward(self.grad, self.q, self.k, self.v, lse, *where, **same, **options)

    def defined(self) -> tuple[Tensor, ...]:
        """The same by the reference, in float64."""
        inputs = [part.detach().double().requires_grad_() for part in (self.q, self.k, self.v)]
        out = reference.attention(*inputs, layout_of(self.lengths), heads=self.heads, dropped=self.dropped)
        return out.detach(), *torch.autograd.grad(out, inputs, self.grad.double())

    def take(self, sequences: Sequence[int]) -> tuple["Case", Tensor, Tensor]:
        """Some of the sequences as a batch of their own, with the rows of the tokens and of the queries that they are."""
        starts = [sum(self.lengths[:i]) for i in range(len(self.lengths))]
        rows = torch.cat([torch.arange(starts[i], starts[i] + self.lengths[i]) for i in sequences])
        asked = torch.tensor(sequences) if len(self.q) != len(self.k) else rows
        dropped = self.dropped and Dropout(self.dropped.probability, self.dropped.keys[asked])
        lengths = tuple(self.lengths[i] for i in sequences)
        return Case(lengths, self.heads, self.q[asked], self.k[rows], self.v[rows], self.grad[asked], dropped), rows, asked


def agree(found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        error = EXACT[ours.dtype]
        torch.testing.assert_close(ours.double(), theirs, atol=error, rtol=error)


@pytest.mark.parametrize(("width", "heads"), [(16, 1), (26, 2), (32, 1), (64, 1), (128, 1)])
def test_float16_agrees_with_the_reference(width, heads):
    case = Case.of(LENGTHS, width=width, heads=heads, dtype=torch.float16, p=0.3)
    agree(case.computed(), case.defined())


@pytest.mark.parametrize(("width", "lengths"), [(16, LENGTHS[:11]), (26, FEW), (32, (65, 4)), (64, (1, 33, 127)), (128, (5, 17, 66))])
def test_float32_agrees_with_the_reference(width, lengths):
    case = Case.of(lengths, width=width, p=0.1)
    agree(case.computed(), case.defined())


@pytest.mark.parametrize("dtype", EXACT)
def test_three_heads_without_dropout_agree_with_the_reference(dtype):
    case = Case.of((5, 16, 40), width=26, heads=3, dtype=dtype)
    agree(case.computed(), case.defined())


@pytest.mark.parametrize(("width", "lengths"), [(64, (3, 129)), (128, (65, 200))])
def test_with_little_shared_memory_keys_come_in_blocks(width, lengths, monkeypatch):
    monkeypatch.setattr(attention, "shared_memory", lambda device: SMALL_CHIP)
    case = Case.of(lengths, width=width, dtype=torch.float16, p=0.3)
    agree(case.computed(), case.defined())


@pytest.mark.parametrize("dtype", EXACT)
@pytest.mark.parametrize(("width", "heads", "p"), [(16, 3, 0.3), (26, 2, 0.0), (26, 2, 0.3), (32, 1, 0.3), (64, 2, 0.3), (128, 1, 0.3)])
def test_one_query_a_sequence_agrees_with_the_reference(width, heads, p, dtype):
    case = Case.of(LENGTHS, width=width, heads=heads, dtype=dtype, p=p, single=True)
    agree(case.computed(), case.defined())


def test_one_query_a_sequence_takes_bfloat16():
    case = Case.of(FEW, width=26, heads=2, dtype=torch.bfloat16, p=0.1, single=True)
    for ours, theirs in zip(case.computed(), case.defined(), strict=True):
        torch.testing.assert_close(ours.double(), theirs, atol=0.02, rtol=0.02)


def test_products_of_bfloat16_are_refused_here():
    """They are silently wrong in the interpreter of Triton 3.9.0; compiling covers them, and a GPU."""
    case = Case.of(FEW, width=32, dtype=torch.bfloat16)
    with pytest.raises(ValueError, match="interpreter"):
        case.computed()


def test_the_saved_numbers_are_the_logarithms_of_sums():
    case = Case.of((7, 40), width=26, heads=2)
    places = layout_of(case.lengths).places(torch.device("cpu"))
    _, lse = attention.forward(case.q, case.k, case.v, places.starts, places.lengths, places.order, counts=places.counts, heads=2)
    for rows in (slice(0, 7), slice(7, 47)):
        q, k = (part[rows].view(-1, 2, 26).transpose(0, 1) for part in (case.q, case.k))
        torch.testing.assert_close(lse[:, rows], torch.logsumexp(q @ k.transpose(1, 2) / 26**0.5, dim=-1))


@pytest.mark.parametrize(("dtype", "longest"), [(torch.float16, 100), (torch.float32, 40)])
def test_masks_are_those_of_the_reference_bit_by_bit(dtype, longest):
    """With queries of zero, a probability shows in the output if the value of its key is a unit vector, and in the gradient of values."""
    width, heads, p = 128, 2, 0.4
    case = Case.of((1, 17, longest), width=width, heads=heads, dtype=dtype, p=p)
    columns = reference.attention_columns(heads, width, case.k.device)
    kept = reference.keep(case.dropped.keys[:, None, None], columns[None], p)  # (t, h, keys)
    units = torch.cat([torch.eye(width, dtype=dtype)[:n] for n in case.lengths]).repeat(1, heads)
    out, _, _, dv = replace(case, q=torch.zeros_like(case.q), v=units, grad=units).computed()
    start = 0
    for n in case.lengths:
        rows = slice(start, start + n)
        assert torch.equal(out[rows].view(n, heads, width)[:, :, :n] != 0, kept[rows, :, :n])
        assert torch.equal(dv[rows].view(n, heads, width)[:, :, :n].permute(2, 1, 0) != 0, kept[rows, :, :n])
        start += n


@pytest.mark.parametrize("single", [False, True])
def test_gradients_are_the_slopes_of_the_outputs_with_dropout(single):
    case = Case.of((7, 33), width=16, heads=2, p=0.2, single=single)
    _, dq, dk, dv = case.computed()
    generator = torch.Generator().manual_seed(1)
    for name, gradient in (("q", dq), ("k", dk), ("v", dv)):
        direction = torch.randn(gradient.shape, generator=generator)
        ends = [replace(case, **{name: getattr(case, name) + step * direction}).computed()[0].double() for step in (1e-2, -1e-2)]
        slope = ((ends[0] - ends[1]) * case.grad).sum() / 2e-2
        assert float(slope) == pytest.approx(float((gradient * direction).double().sum()), rel=2e-3)


@pytest.mark.parametrize(
    ("dtype", "width", "lengths", "single"),
    [
        (torch.float16, 26, (130, 9, 31, 70, 2, 16), False),
        (torch.float32, 64, (20, 66, 2), False),
        (torch.float32, 26, (130, 9, 31, 70), True),
    ],
)
def test_a_sequence_has_the_same_bits_in_every_packing(dtype, width, lengths, single):
    case = Case.of(lengths, width=width, dtype=dtype, p=0.1, single=single)
    together, order = case.computed(), torch.randperm(len(lengths), generator=torch.Generator().manual_seed(0)).tolist()
    for chosen in (order, [0], [1], [2]):
        part, rows, asked = case.take(chosen)
        for found, whole, places in zip(part.computed(), together, (asked, asked, rows, rows), strict=True):
            assert torch.equal(found, whole[places])


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize(("dtype", "width"), [(torch.float16, 26), (torch.float32, 64)])
def test_nothing_is_read_beside_a_sequence(dtype, width, single):
    case = Case.of((30, 70, 5), width=width, dtype=dtype, p=0.1, single=single)
    clean = case.computed()
    for sequence in (0, 1):
        _, rows, asked = case.take([sequence])
        poisoned = {}
        for name, places in (("q", asked), ("k", rows), ("v", rows), ("grad", asked)):
            poisoned[name] = torch.full_like(getattr(case, name), torch.nan)
            poisoned[name][places] = getattr(case, name)[places]
        for found, expected, places in zip(
            replace(case, **poisoned).computed(only=sequence), clean, (asked, asked, rows, rows), strict=True
        ):
            assert torch.equal(found[places], expected[places])


@pytest.mark.parametrize(("dtype", "width"), [(torch.float16, 26), (torch.float32, 64)])
def test_nothing_is_written_beside_a_sequence(dtype, width):
    """Only one sequence is named in the order: all other rows and columns keep what they held."""
    case, d = Case.of((30, 70, 5), width=width, heads=2, dtype=dtype), 2 * width
    held = [torch.full((105, d + 8), 7.0, dtype=dtype) for _ in range(3)]
    case.computed(only=1, into=tuple(gradient[:, 4:-4] for gradient in held))
    for gradient in held:
        inside = gradient[30:100, 4:-4].clone()
        assert not (inside == 7.0).any()
        gradient[30:100, 4:-4] = 7.0
        assert (gradient == 7.0).all()


@pytest.mark.parametrize("single", [False, True])
def test_distances_between_rows_change_no_bit(single):
    case = Case.of(FEW, width=26, heads=2, dtype=torch.float16, p=0.1, single=single)
    dense = replace(case, **{name: getattr(case, name).contiguous() for name in ("q", "k", "v")})
    odd = {name: torch.nn.functional.pad(getattr(case, name), (3, 2), value=torch.nan)[:, 3:-2] for name in ("q", "k", "v", "grad")}
    targets = [torch.empty(len(part), 57, dtype=torch.float16)[:, 5:] for part in (case.q, case.k, case.v)]
    expected = dense.computed()
    for found in (case.computed(), replace(case, **odd).computed(into=tuple(targets))):
        assert all(map(torch.equal, found, expected))
    assert all(map(torch.equal, targets, expected[1:]))


def test_the_gradient_of_one_product_is_one_tensor():
    _, dq, dk, dv = Case.of((3, 5), width=16).computed()
    assert dq._base is dk._base is dv._base
    assert dq._base.shape == (8, 48)
    _, dq, dk, dv = Case.of((3, 5), width=16, single=True).computed()
    assert dk._base is dv._base
    assert dk._base.shape == (8, 32)


@pytest.mark.parametrize("single", [False, True])
def test_an_expanded_gradient_is_read_as_it_is_meant(single):
    case = Case.of((5, 20), width=16, single=single)
    expanded = replace(case, grad=torch.ones(1, 1).expand(case.grad.shape))
    assert all(map(torch.equal, expanded.computed(), replace(case, grad=torch.ones_like(case.grad)).computed()))


def test_gradients_are_not_written_to_columns_that_are_apart():
    with pytest.raises(ValueError, match="neighbouring columns"):
        Case.of((3, 5), width=16).computed(into=tuple(torch.empty(16, 8).T for _ in range(3)))


@pytest.mark.parametrize("dtype", EXACT)
def test_two_runs_have_the_same_bits(dtype):
    case = Case.of((20, 66), width=64, dtype=dtype, p=0.1)
    assert all(map(torch.equal, case.computed(), case.computed()))


@pytest.mark.parametrize("single", [False, True])
def test_places_of_length_zero_do_nothing_but_write_zeros_for_their_query(single):
    """A captured graph has places for more sequences than most batches."""
    case = Case.of((9, 20), width=16, single=single)
    starts, lengths = torch.tensor([0, 9, 0, 0], dtype=torch.int32), torch.tensor([9, 20, 0, 0], dtype=torch.int32)
    order, q, grad = torch.tensor([0, 2, 3, 1, 3], dtype=torch.int32), case.q, case.grad
    if single:
        q, grad = (torch.cat([part, torch.ones(2, 16)]) for part in (q, grad))
    out, lse = attention.forward(q, case.k, case.v, starts, lengths, order, counts=(3, 2, 0, 0, 0), heads=1)
    found = (out, *attention.backward(grad, q, case.k, case.v, lse, starts, lengths, order, counts=(3, 2, 0, 0, 0), heads=1))
    for ours, theirs in zip(found, case.computed(), strict=True):
        assert torch.equal(ours[: len(theirs)], theirs)
        assert (ours[len(theirs) :] == 0).all()


def test_the_threshold_is_that_of_the_reference():
    rows, columns = torch.arange(-(2**31), 2**31, 2**22).to(torch.int32), torch.zeros(1, dtype=torch.int32)
    word = rows * reference._signed(0x7FEB352D)
    word = (word ^ (word >> 15)) * reference._signed(0x846CA68B)
    for p in (0.0, 0.1, 0.5, 0.9999):
        assert torch.equal(word >= plan.threshold(p), reference.keep(rows, columns, p))
