"""Dropout is a hash of the place: equal to a plain twin, independent of the packing, and random enough."""

import pytest
import torch
from torch import Tensor

from nlphub.kernels import Draws, Dropout, Layout, Noise, Site, cpu, reference

MASK = 0xFFFFFFFF


def mixed(word: int) -> int:
    word &= MASK
    word = ((word ^ (word >> 16)) * 0x7FEB352D) & MASK
    word = ((word ^ (word >> 15)) * 0x846CA68B) & MASK
    return word ^ (word >> 16)


def stays(probability: float, seed: int, layer: int, site: int, example: int, position: int, column: int) -> bool:
    """The hash for one value, in plain whole numbers."""
    word = 0
    for part in (seed & MASK, seed >> 32, layer, site, example, position):
        word = mixed(word ^ part)
    word = ((word ^ mixed(column + 0x9E3779B9)) * 0x7FEB352D) & MASK
    signed = word - (1 << 32) if word >> 31 else word
    word = ((word ^ ((signed >> 15) & MASK)) * 0x846CA68B) & MASK
    return (word ^ (1 << 31)) >= round(probability * 2**32)


def mask(
    probability: float = 0.1, *, seed: int = 1, layer: int = 0, site: Site = Site.HEAD, example: int = 0, rows: int = 512, width: int = 384
) -> Tensor:
    """Of one example: float 0 and 1, ``(rows, width)``."""
    draws = Draws(seed, torch.full((rows,), example), torch.arange(rows))
    return (reference.dropout(torch.ones(rows, width), draws.dropout(probability, layer=layer, site=site)) != 0).float()


@pytest.mark.parametrize("seed", [0, 7, 2**31 - 1, 2**40 + 3])
@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_the_hash_equals_its_plain_twin(seed, probability):
    examples, positions = torch.tensor([0, 5, 123456789]), torch.tensor([0, 511, 3])
    keys = reference.row_keys(seed, 4, Site.ATTENTION, examples, positions)
    found = reference.keep(keys[:, None], reference.column_keys(torch.arange(70)), probability)
    places = list(zip(examples.tolist(), positions.tolist(), strict=True))
    assert found.tolist() == [[stays(probability, seed, 4, 1, *place, column) for column in range(70)] for place in places]


def test_without_a_probability_or_noise_nothing_happens(batch):
    x = torch.ones(3, 4)
    assert Draws(0, torch.arange(3), torch.arange(3)).dropout(0.0, layer=0, site=Site.HEAD) is None
    assert Draws.of(None, batch([3])) is None
    assert cpu.dropout(x, None) is x


def test_what_stays_is_scaled():
    x = torch.full((200, 384), 2.0)
    out = reference.dropout(x, Dropout(0.25, reference.row_keys(1, 0, 0, torch.zeros(200).long(), torch.arange(200))))
    assert out.unique().tolist() == [0.0, pytest.approx(2 / 0.75)]
    assert out.mean() == pytest.approx(2.0, abs=0.02)


@pytest.mark.parametrize("route", [reference, cpu])
def test_masks_follow_the_example_wherever_it_is_packed(batch, route):
    lengths = [6, 4, 6, 9, 3]
    alone, together = batch(lengths, rows=[2]), batch(lengths, rows=[4, 1, 0, 2, 3])
    rows = slice(13, 19)
    for site, layer in ((Site.EMBEDDINGS, 0), (Site.FEED_FORWARD_OUTPUT, 5)):
        masks = [Draws.of(Noise(3), packed).dropout(0.4, layer=layer, site=site) for packed in (alone, together)]
        one, many = (route.dropout(torch.ones(len(dropped.keys), 32), dropped) for dropped in masks)
        assert torch.equal(one, many[rows])
    value = torch.eye(6, 16).repeat(1, 2)  # with queries of zero, an output row shows the dropped probabilities of both heads
    outputs = []
    for packed, place in ((alone, slice(0, 6)), (together, rows)):
        v = torch.zeros(len(packed.ids), 32)
        v[place] = value
        dropped = Draws.of(Noise(3), packed).dropout(0.4, layer=1, site=Site.ATTENTION)
        outputs.append(route.attention(torch.zeros_like(v), torch.zeros_like(v), v, Layout.of(packed), heads=2, dropped=dropped)[place])
    assert torch.equal(*outputs)
    assert (outputs[0] == 0).any()


@pytest.mark.parametrize("route", [reference, cpu])
def test_attention_drops_by_query_head_and_key(batch, route):
    packed = batch([3, 5, 5], rows=[2, 0])
    dropped = Draws.of(Noise(9), packed).dropout(0.5, layer=1, site=Site.ATTENTION)
    same = torch.zeros(8, 16)  # queries and keys of zero: every weight is 1 / length before dropout
    value = torch.cat([torch.eye(5, 8), torch.eye(3, 8)]).repeat(1, 2)  # so column 8 h + k of the output is the weight of head h and key k
    kept = route.attention(same, same, value, Layout.of(packed), heads=2, dropped=dropped) != 0
    for row, (example, position, length) in enumerate([*((2, i, 5) for i in range(5)), *((0, i, 3) for i in range(3))]):
        for head in range(2):
            expected = [stays(0.5, 9, 1, Site.ATTENTION, example, position, (head << 16) + key) for key in range(length)]
            assert kept[row, 8 * head : 8 * head + length].tolist() == expected


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_the_share_of_zeros_is_the_probability(probability):
    kept = mask(probability)
    deviation = (probability * (1 - probability)) ** 0.5
    assert abs(kept.mean() - (1 - probability)) < 4 * deviation / kept.numel() ** 0.5
    assert (kept.mean(1) - (1 - probability)).abs().max() < 5 * deviation / 384**0.5  # of 512 rows
    assert (kept.mean(0) - (1 - probability)).abs().max() < 5 * deviation / 512**0.5  # of 384 columns


def test_rows_and_columns_are_not_correlated():
    kept = mask(0.5) - 0.5
    for matrix in (kept, kept.T):
        products = matrix @ matrix.T / (0.25 * matrix.shape[1])
        products.fill_diagonal_(0)
        assert products.abs().max() < 5.5 / matrix.shape[1] ** 0.5  # the largest of about 100,000 normal values
        assert products.std() == pytest.approx(matrix.shape[1] ** -0.5, rel=0.05)


@pytest.mark.parametrize(
    "other", [{"seed": 2}, {"seed": 1 + 2**32}, {"layer": 1}, {"site": Site.EMBEDDINGS}, {"example": 1}, {"example": 2**20}], ids=str
)
def test_masks_of_other_places_are_independent(other):
    first, second = mask(0.5) - 0.5, mask(0.5, **other) - 0.5
    assert abs((first * second).mean() / 0.25) < 4 / first.numel() ** 0.5


def test_seeds_layers_sites_and_examples_do_not_stand_for_one_another():
    keys = {
        int(reference.row_keys(seed, layer, site, torch.tensor([example]), torch.tensor([position])))
        for seed in range(6)
        for layer in range(6)
        for site in range(5)
        for example in range(6)
        for position in range(6)
    }
    assert len(keys) >= 6 * 6 * 5 * 6 * 6 - 1  # two of 6,480 random words of 32 bits agree once in 200 tries
