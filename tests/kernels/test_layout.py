"""Where sequences lie, as kernels on a device want to know it: by buckets of their own lengths, made once and only when asked for."""

import pytest
import torch

from nlphub.kernels.layout import BUCKETS, Layout, Run

CPU = torch.device("cpu")


def layout(*runs: tuple[int, int]) -> Layout:
    """Of runs of so many sequences of a length."""
    made, row, sequence = [], 0, 0
    for count, length in runs:
        made.append(Run(row, sequence, count, length))
        row, sequence = row + count * length, sequence + count
    return Layout(tuple(made))


def test_sequences_are_grouped_by_the_bucket_of_their_own_length():
    lengths = [20, 16, 257, 1, 256, 33, 32, 300, 17]
    places = layout(*((1, length) for length in lengths)).places(CPU)
    assert places.lengths.tolist() == lengths
    assert places.starts.tolist() == [sum(lengths[:i]) for i in range(len(lengths))]
    assert places.order.tolist() == [1, 3, 0, 6, 8, 5, 4, 2, 7]
    assert places.counts == (2, 3, 1, 0, 1)
    assert {part.dtype for part in (places.starts, places.lengths, places.order)} == {torch.int32}
    for bucket, count in zip(BUCKETS, places.counts, strict=True):
        assert count == sum(bucket // 2 < max(length, 9) <= bucket for length in lengths)


def test_a_run_is_as_many_sequences_as_it_counts():
    places = layout((2, 5), (1, 40), (2, 5)).places(CPU)
    assert places.starts.tolist() == [0, 5, 10, 50, 55]
    assert places.order.tolist() == [0, 1, 3, 4, 2]
    assert places.counts == (4, 0, 1, 0, 0)


def test_places_are_made_when_asked_for_and_once(batch):
    made = Layout.of(batch([3, 3, 9]))
    assert made.placed == {}
    assert made.places(CPU) is made.places(CPU)
    assert made == Layout.of(batch([3, 3, 9]))


@pytest.mark.parametrize(("runs", "longest"), [((), 0), (((2, 5), (1, 9), (3, 1)), 9)])
def test_the_longest_sequence_is_known_on_the_host(runs, longest):
    made = layout(*runs)
    assert made.longest == longest
    assert made.places(CPU).counts[0] == sum(count for count, _ in runs)
