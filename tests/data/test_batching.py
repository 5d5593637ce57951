"""Packed batches against slow twins, and which examples go together."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlphub.data.batching import Packed, epoch_batches, micro_batches, pack, pad, token_batches
from nlphub.text.encoding import Encoded

LENGTHS = st.lists(st.integers(1, 12), max_size=30)


def encoded(lengths: list[int]) -> Encoded:
    """Sequences of these lengths with ids that are all different, so that any mix-up shows."""
    starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
    t = int(starts[-1])
    ids = np.arange(100, 100 + t, dtype=np.int64)
    return Encoded(
        ids=ids, types=ids % 2, offsets=np.stack([ids, ids + 1], axis=1), starts=starts, truncated=np.zeros(len(lengths), dtype=np.bool_)
    )


def slow_pack(source: Encoded, rows: list[int]) -> dict[str, list[int]]:
    ids: list[int] = []
    types: list[int] = []
    positions: list[int] = []
    lengths: list[int] = []
    starts: list[int] = []
    for row in rows:
        starts.append(len(ids))
        lengths.append(0)
        for token in range(source.starts[row], source.starts[row + 1]):
            ids.append(source.ids[token])
            types.append(source.types[token])
            positions.append(lengths[-1])
            lengths[-1] += 1
    return {"ids": ids, "types": types, "positions": positions, "lengths": lengths, "starts": starts, "cls_rows": starts, "examples": rows}


@given(lengths=LENGTHS, data=st.data())
def test_packed_arrays_equal_the_slow_twin(lengths: list[int], data: st.DataObject) -> None:
    source = encoded(lengths)
    rows = data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=20)) if lengths else []
    fast = pack(source, np.array(rows, dtype=np.int64))
    for name, slow in slow_pack(source, rows).items():
        array = getattr(fast, name)
        assert array.dtype == np.int64
        assert array.tolist() == slow, name


def test_packing_nothing_gives_empty_arrays() -> None:
    packed = pack(encoded([3, 4]), np.array([], dtype=np.int64))
    assert packed.ids.tolist() == packed.lengths.tolist() == packed.starts.tolist() == []


def test_map_converts_every_array() -> None:
    packed = pack(encoded([2, 3]), np.array([1, 0]))
    as_lists: Packed[list[int]] = packed.map(lambda array: array.tolist())
    assert {name: getattr(as_lists, name) for name in Packed.__dataclass_fields__} == slow_pack(encoded([2, 3]), [1, 0])


@given(lengths=LENGTHS, batch_size=st.integers(1, 8), seed=st.integers(0, 5), epoch=st.integers(0, 5))
def test_an_epoch_has_every_example_exactly_once_in_full_sorted_batches(lengths: list[int], batch_size: int, seed: int, epoch: int) -> None:
    array = np.array(lengths, dtype=np.int64)
    batches = list(epoch_batches(array, batch_size=batch_size, seed=seed, epoch=epoch))
    assert sorted(itertools.chain.from_iterable(batch.tolist() for batch in batches)) == list(range(len(lengths)))
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert all(np.all(np.diff(array[batch]) >= 0) for batch in batches)


def test_batches_depend_on_seed_and_epoch_alone() -> None:
    lengths = np.arange(1, 101, dtype=np.int64)

    def batches(seed: int, epoch: int) -> list[list[int]]:
        return [batch.tolist() for batch in epoch_batches(lengths, batch_size=16, seed=seed, epoch=epoch)]

    np.random.default_rng(0).random(7)  # generators elsewhere do not matter
    assert batches(3, 1) == batches(3, 1)
    different = [batches(3, 1), batches(3, 2), batches(4, 1), batches(1, 3)]
    assert all(a != b for a, b in itertools.combinations(different, 2))


@given(lengths=LENGTHS, max_tokens=st.integers(1, 40))
def test_micro_batches_keep_the_order_and_the_budget(lengths: list[int], max_tokens: int) -> None:
    array = np.array(lengths, dtype=np.int64)
    batch = np.argsort(array, kind="stable")
    parts = list(micro_batches(batch, array, max_tokens=max_tokens))
    assert list(itertools.chain.from_iterable(part.tolist() for part in parts)) == batch.tolist()
    for part in parts:
        assert len(part) == 1 or array[part].sum() <= max_tokens
    for part, following in itertools.pairwise(parts):  # no part could have taken one more
        assert array[part].sum() + array[following[0]] > max_tokens


@given(lengths=LENGTHS, max_tokens=st.integers(1, 60))
def test_inference_batches_hold_everything_once_and_keep_the_padded_budget(lengths: list[int], max_tokens: int) -> None:
    array = np.array(lengths, dtype=np.int64)
    parts = list(token_batches(array, max_tokens=max_tokens))
    order = list(itertools.chain.from_iterable(part.tolist() for part in parts))
    assert order == np.argsort(array, kind="stable").tolist()
    for part in parts:
        assert len(part) == 1 or len(part) * array[part].max() <= max_tokens
    for part, following in itertools.pairwise(parts):
        assert (len(part) + 1) * array[following[0]] > max_tokens


@settings(max_examples=50)
@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=20), data=st.data())
def test_padding_and_dropping_the_padding_gives_the_packed_rows_back(lengths: list[int], data: st.DataObject) -> None:
    source = encoded(lengths)
    rows = np.array(data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=10)), dtype=np.int64)
    ids, mask, types = pad(source, rows, pad_id=7)
    packed = pack(source, rows)
    assert ids.shape == mask.shape == types.shape == (len(rows), source.lengths[rows].max())
    assert ids.dtype == mask.dtype == types.dtype == np.int64
    assert ids[mask == 1].tolist() == packed.ids.tolist()
    assert types[mask == 1].tolist() == packed.types.tolist()
    assert mask.sum(axis=1).tolist() == packed.lengths.tolist()
    assert np.all(np.diff(mask, axis=1) <= 0), "padding comes last"
    assert set(ids[mask == 0].tolist()) <= {7}
    assert set(types[mask == 0].tolist()) <= {0}


@pytest.mark.parametrize("rows", [[], [0]])
def test_empty_inputs_give_no_batches(rows: list[int]) -> None:
    nothing = np.array([], dtype=np.int64)
    assert list(epoch_batches(nothing, batch_size=4, seed=0, epoch=0)) == []
    assert list(micro_batches(nothing, np.array([5]), max_tokens=4)) == []
    assert list(token_batches(nothing, max_tokens=4)) == []
    ids, mask, types = pad(encoded([2]), np.array(rows, dtype=np.int64), pad_id=0)
    assert ids.shape == mask.shape == types.shape == (len(rows), 2 * len(rows))
