"""N-grams inside a network: the keys, where they begin, and the search that exports."""

import numpy as np
import pytest
import torch

from nlphub.data.batching import pad
from nlphub.nn.ngrams import dense_grams, find, grams_of, keys_of, packed_grams
from nlphub.nn.prototypes import labelled


def spelled(ids: list[int]) -> list[list[tuple[int, ...]]]:
    """The slow twin: for each token of a text with [CLS] and [SEP] the 1-, 2- and 3-gram that begin there."""
    inner = range(1, len(ids) - 1)
    return [[tuple(ids[p : p + n]) if p in inner and p + n - 1 in inner else () for n in (1, 2, 3)] for p in range(len(ids))]


TEXTS = [[1, 7, 8, 9, 2], [1, 2], [1, 7, 2], [1, 5, 5, 2], [3]]


def test_each_token_begins_the_n_grams_of_its_own_text(batch):
    packed = batch([5, 2, 3, 4, 1])
    keys = packed_grams(packed)
    wanted = [grams for text in np.split(packed.ids.numpy(), packed.starts.numpy()[1:]) for grams in spelled(text.tolist())]
    for row, grams in zip(keys.tolist(), wanted, strict=True):
        assert [key >= 0 for key in row] == [bool(gram) for gram in grams]
        for key, gram in zip(row, grams, strict=True):
            if gram:
                first, second, third = grams_of(torch.tensor([key]))[0].tolist()
                assert (first, *[one - 1 for one in (second, third) if one]) == gram


def test_padded_texts_have_the_same_n_grams(batch):
    examples = labelled([np.array(text) for text in TEXTS], [0] * len(TEXTS))
    ids, mask, _ = (torch.from_numpy(part) for part in pad(examples.encoded, np.arange(len(TEXTS)), pad_id=0))
    from nlphub.data.batching import pack
    from nlphub.nn.encoder import to_tensors

    packed = packed_grams(to_tensors(pack(examples.encoded, np.arange(len(TEXTS)))))
    assert torch.equal(dense_grams(ids, mask)[mask != 0], packed)


def test_keys_go_there_and_back():
    grams = torch.tensor([[0, 0, 0], [0, 1, 0], [5, 2**21 - 1, 2**21 - 1], [2**20 - 1, 1, 2]])
    keys = keys_of(grams)
    assert torch.equal(grams_of(keys), grams)
    assert (keys >= 0).all()
    assert keys_of(grams.float()).tolist() == keys.tolist(), "ids are exact as float32"


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 8, 100])
def test_the_search_finds_what_searchsorted_finds(size):
    generator = torch.Generator().manual_seed(size)
    keys = torch.randperm(size * 3, generator=generator)[:size].sort().values
    wanted = torch.arange(-1, size * 3 + 2).reshape(1, -1)
    place = torch.searchsorted(keys, wanted).clamp(max=size - 1)
    assert torch.equal(find(keys, wanted), torch.where(keys[place] == wanted, place, size))
