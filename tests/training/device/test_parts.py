"""What a training step on a device is made of, one by one: shapes and their tails, copies in turn, masters, recorded work."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from nlphub import kernels
from nlphub.errors import InputError
from nlphub.kernels import adamw, operators
from nlphub.kernels.layout import BUCKETS, Places
from nlphub.kernels.reference import Site, row_keys
from nlphub.tasks.base import IGNORED
from nlphub.training.device.buckets import Shape, Shapes, placed, targets_with_tail, token_sizes, with_tail
from nlphub.training.device.fixed import FixedLayout
from nlphub.training.device.graphs import Calls, Latest
from nlphub.training.device.masters import Gradients, Update, Working
from nlphub.training.device.staging import Form, Staging

GENERATOR = np.random.default_rng(0)


def added(sizes: tuple[int, ...], counts: np.ndarray[Any, Any]) -> float:
    return float(sum(min((size - count for size in sizes if size >= count), default=np.inf) for count in counts.tolist()))


@pytest.mark.parametrize("most", [1, 2, 3, 8])
def test_sizes_are_those_that_add_least(most: int) -> None:
    counts = GENERATOR.integers(1, 150, 30)
    values = np.unique(-(-counts // 16) * 16).tolist()
    best = min(added(sizes, counts) for sizes in itertools.combinations(values, min(most, len(values))) if max(sizes) >= counts.max())
    sizes = token_sizes(counts, most=most)
    assert len(sizes) <= most
    assert added(sizes, counts) == best


def test_sizes_of_many_different_counts_are_found_in_time_and_hold_all() -> None:
    counts = GENERATOR.integers(1000, 60000, 2000)
    sizes = token_sizes(counts, most=8)
    assert len(sizes) == 8
    assert added(sizes, counts) / counts.sum() < 0.12, "counts of all sizes are equally frequent here"


def test_most_batches_of_later_epochs_fit_and_few_rows_are_added() -> None:
    lengths = np.clip(GENERATOR.lognormal(2.8, 0.5, 6400), 3, 128).astype(np.int64)
    first, second = (np.split(GENERATOR.permutation(lengths), 200) for _ in range(2))
    shapes = Shapes.of(first)
    fitting = [(shapes.fit(part), part) for part in second]
    assert sum(shape is not None for shape, _ in fitting) >= 190
    assert len({shape for shape, _ in fitting}) <= 9
    assert sum(shape.tokens - part.sum() for shape, part in fitting if shape) / lengths.sum() < 0.12


@pytest.mark.parametrize(("lengths", "why"), [([9] * 40, "too many tokens"), ([300], "longer than any place"), ([60] * 5, "places")])
def test_what_fits_into_no_shape_is_left_as_it_is(lengths: list[int], why: str) -> None:
    shapes = Shapes.of([np.array([5, 9, 12, 14])] * 3)
    assert shapes.fit(np.array(lengths)) is None, why


def test_a_tail_fills_the_shape_and_every_sequence_has_one_place(batch: Callable[..., Any]) -> None:
    lengths = [3, 5, 5, 20, 33]
    packed = batch(lengths).map(lambda tensor: tensor.numpy())
    shape = Shapes.of([np.array(lengths)]).fit(np.array(lengths))
    assert shape is not None
    longer = with_tail(packed, shape)
    assert len(longer.ids) == shape.tokens
    assert len(longer.lengths) == shape.sequences
    assert longer.lengths.sum() == shape.tokens
    assert longer.lengths.min() >= 1
    assert longer.positions.tolist() == [place for length in longer.lengths for place in range(length)]
    assert all(np.array_equal(getattr(longer, name)[: len(getattr(packed, name))], getattr(packed, name)) for name in packed.__slots__)
    starts, counted, order = placed(longer.lengths, shape)
    assert np.array_equal(starts[:-1], longer.starts)
    assert counted[-1] == 0
    assert len(order) == sum(shape.counts)
    assert sorted(order[order < shape.sequences].tolist()) == list(range(shape.sequences))
    assert shape.sequences in order, "the row of the sequence without tokens is written by a place that is not used"
    bounds = np.repeat(BUCKETS, shape.counts)
    assert (counted[order] <= bounds).all(), "no place is too short for its sequence"
    with pytest.raises(ValueError, match="do not fit"):
        placed(packed.lengths, shape)


def test_the_tail_has_no_targets(batch: Callable[..., Any]) -> None:
    packed = batch([3, 5]).map(lambda tensor: tensor.numpy())
    shape = Shape(16, 4, (6, 0, 0, 0, 0))
    texts, tokens, values = np.array([1, 0]), np.arange(8), np.array([[0.5, 1.0], [0.0, 0.0]], np.float32)
    longer = targets_with_tail((texts, tokens, values), packed, shape)
    assert longer[0].tolist() == [1, 0, IGNORED, IGNORED, IGNORED]
    assert longer[1].tolist() == [*range(8), *[IGNORED] * 8]
    assert longer[2].shape == (5, 2)
    assert not longer[2][2:].any()


def test_seeds_on_the_device_draw_the_same_masks_bit_by_bit() -> None:
    examples, positions = torch.arange(7), torch.arange(7) % 3
    for seed, layer in itertools.product((0, 1, 2**31 - 1, 2**31, 2**62 + 12345), (0, 3)):
        drawn = row_keys(torch.tensor(seed), layer, Site.ATTENTION, examples, positions)
        assert torch.equal(drawn, row_keys(seed, layer, Site.ATTENTION, examples, positions))


def test_a_buffer_holds_arrays_of_all_kinds_as_they_are() -> None:
    arrays = {"a": np.arange(3), "b": np.array(2.5, np.float32), "c": np.ones((2, 3), np.int32), "d": np.zeros((0, 2), np.float32)}
    form = Form.of(arrays)
    buffer = torch.zeros(form.size, dtype=torch.uint8)
    form.write(arrays, buffer)
    views = form.views(buffer)
    assert all(np.array_equal(views[name].numpy(), array) and views[name].shape == array.shape for name, array in arrays.items())
    with pytest.raises(ValueError, match="this buffer is for"):
        form.write({**arrays, "a": np.arange(4)}, buffer)


def test_batches_come_out_in_the_order_they_went_in_and_slots_are_used_in_turn() -> None:
    form = Form.of({"a": np.zeros(1, np.int64)})
    staging, into = Staging(form, torch.device("cpu")), torch.zeros(form.size, dtype=torch.uint8)
    view = form.views(into)["a"]
    taken = []
    staging.put({"a": np.array([0])})
    for number in range(1, 6):
        staging.put({"a": np.array([number])})
        with pytest.raises(RuntimeError, match="all 2 slots"):
            staging.put({"a": np.array([99])})
        staging.take(into)
        taken.append(int(view))
    staging.take(into)
    assert [*taken, int(view)] == [0, 1, 2, 3, 4, 5]
    assert staging.waiting == 0
    with pytest.raises(RuntimeError, match="no batch"):
        staging.take(into)


def test_the_last_used_are_kept() -> None:
    made: list[int] = []
    kept = Latest[int, int](2)
    for key in (1, 2, 1, 3, 1, 2):
        kept.get(key, lambda key=key: made.append(key) or key)  # type: ignore[misc]
    assert made == [1, 2, 3, 2], "2 was forgotten for 3, and made anew"
    assert len(kept) == 2


def test_a_layout_for_graphs_refuses_what_reads_lengths_on_the_host() -> None:
    numbers = torch.zeros(3, 2, dtype=torch.int32)
    layout = FixedLayout(Places(numbers[0], numbers[1], numbers[2], (1, 1, 0, 0, 0)), torch.device("cpu"))
    assert layout.longest == 32
    assert layout.places(torch.device("cpu")).counts == (1, 1, 0, 0, 0)
    with pytest.raises(InputError, match=r"train\.graphs=off"):
        _ = layout.runs


def learner(*, dtype: torch.dtype = torch.float32) -> tuple[torch.nn.Linear, torch.optim.AdamW, Working, Gradients]:
    torch.manual_seed(0)
    net = torch.nn.Linear(4, 3)
    optimizer = torch.optim.AdamW([{"params": [net.weight], "weight_decay": 0.1}, {"params": [net.bias], "lr": 0.01}], lr=0.1)
    working = Working(net, dtype)
    return net, optimizer, working, Gradients([working.masters[name] for name in working.learnt], torch.device("cpu"))


@pytest.mark.parametrize("clip", [None, 0.5, 100.0])
def test_the_update_is_that_of_torch(clip: float | None) -> None:
    net, optimizer, working, gradients = learner()
    twin = torch.nn.Linear(4, 3)
    twin.load_state_dict(net.state_dict())
    plain = torch.optim.AdamW([{"params": [twin.weight], "weight_decay": 0.1}, {"params": [twin.bias], "lr": 0.01}], lr=0.1)
    update = Update(optimizer, working, gradients, clip=clip)
    for step in range(5):
        drawn = [torch.randn(3, 4), torch.randn(3)]
        gradients.write(torch.tensor(float(step)), drawn)
        update.rates.copy_(torch.tensor([0.1, 0.01]))
        update()
        twin.weight.grad, twin.bias.grad = (one.clone() for one in drawn)
        norm = torch.nn.utils.clip_grad_norm_(twin.parameters(), float("inf") if clip is None else clip)
        plain.step()
        assert update.told.tolist() == pytest.approx([step, float(norm), 0.0])
    for one, other in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    assert {float(state["step"]) for state in optimizer.state.values()} == {5.0}


@pytest.mark.parametrize("route", [adamw, operators])
def test_the_update_writes_the_copies_of_what_it_changes(route: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy is its master rounded: what autocast makes of it."""
    monkeypatch.setattr(kernels, "adamw_all_", route.adamw_all_)
    monkeypatch.setattr(Working, "copy", lambda self: pytest.fail("the copies are written by the step itself"))
    net, optimizer, working, gradients = learner(dtype=torch.bfloat16)
    update, before = Update(optimizer, working, gradients, clip=0.5), net.weight.detach().clone()
    for _ in range(3):
        gradients.write(torch.tensor(1.0), [torch.randn(3, 4), torch.randn(3)])
        update.rates.copy_(torch.tensor([0.1, 0.01]))
        update()
        assert all(torch.equal(working.weights[name], master.to(torch.bfloat16)) for name, master in net.named_parameters())
    assert not torch.equal(before, net.weight)


def test_after_a_step_that_is_not_finite_nothing_changes_any_more() -> None:
    net, optimizer, working, gradients = learner(dtype=torch.bfloat16)
    update = Update(optimizer, working, gradients, clip=1.0)
    update.rates.fill_(0.1)
    gradients.write(torch.tensor(1.0), [torch.ones(3, 4), torch.ones(3)])
    update()
    before = [value.clone() for value in (*net.parameters(), *(one for state in optimizer.state.values() for one in state.values()))]
    for loss, gradient in ((1.0, float("nan")), (float("inf"), 1.0), (1.0, 1.0)):
        gradients.write(torch.tensor(loss), [torch.full((3, 4), gradient), torch.ones(3)])
        update()
        assert float(update.halted) == 1.0
    after = (*net.parameters(), *(one for state in optimizer.state.values() for one in state.values()))
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_the_working_copy_follows_its_masters_and_notices_others_who_change_them() -> None:
    net, _, working, _ = learner(dtype=torch.bfloat16)
    assert working.weights["weight"].dtype == torch.bfloat16
    assert net.weight.dtype == torch.float32
    with torch.no_grad():
        net.weight.fill_(0.3)
    working.refresh()
    assert torch.equal(working.weights["weight"], net.weight.to(torch.bfloat16))
    assert working.weights["weight"].is_leaf
    assert Working(net, torch.float32).weights["weight"] is net.weight


def test_a_loss_may_not_depend_on_other_weights_than_before() -> None:
    _, _, _, gradients = learner()
    gradients.write(torch.tensor(1.0), [torch.ones(3, 4), None])
    assert gradients.used == (0,)
    with pytest.raises(RuntimeError, match="other weights"):
        gradients.write(torch.tensor(1.0), [torch.ones(3, 4), torch.ones(3)])


def test_calls_are_their_own_record() -> None:
    done: list[int] = []
    work = Calls().record(lambda: done.append(1))
    assert not done
    work()
    work()
    assert done == [1, 1]
