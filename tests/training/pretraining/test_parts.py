"""The parts of pretraining against slow, obvious twins: sequences, mixture, counts, schedule, average, operations."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nlphub.data.shards import Corpus
from nlphub.nn.encoder import Encoder, EncoderConfig
from nlphub.nn.heads import MaskedLMHead
from nlphub.nn.initialise import initialise
from nlphub.recipe import PretrainSettings
from nlphub.training.average import Average
from nlphub.training.pretraining.embeddings import co_occurrences, context_vectors, positive_information
from nlphub.training.pretraining.optimizers import Optimizers, warmup_stable_decay
from nlphub.training.pretraining.sampling import Sampler, cut
from nlphub.training.pretraining.speed import matrix_flops, token_flops
from nlphub.training.pretraining.start import start_from_counts


@pytest.fixture
def corpus(tmp_path: Path, write: Any, tokenizer: Any) -> Corpus:
    write(tmp_path / "a.safetensors", ["今天天气真好" * 9, "我要查账单的明细", "好"], source="long")
    write(tmp_path / "b.safetensors", ["信用卡怎么还款呢"] * 40, source="short", weight=2.0)
    return Corpus.open(tmp_path, tokenizer_digest=tokenizer.digest)


def test_documents_are_cut_into_pieces_that_cover_all_but_scraps() -> None:
    starts = np.array([0, 3, 10, 23, 30])
    spans = cut(starts, room=6)
    assert spans.tolist() == [[3, 9], [10, 16], [16, 22], [23, 29]]
    assert cut(starts, room=50).tolist() == [[3, 10], [10, 23], [23, 30]]


def test_a_batch_is_sequences_of_one_document_with_their_words(corpus: Corpus, tokenizer: Any) -> None:
    batch = Sampler(corpus, tokenizer, max_length=16, seed=0).batch(1, tokens=200)
    encoded = batch.encoded
    lengths = encoded.lengths.tolist()
    assert lengths == sorted(lengths)
    assert max(lengths) <= 16
    assert 200 <= sum(lengths) < 216 + 16
    documents = ["".join(tokenizer.vocabulary[i] for i in corpus[name].ids) for name in corpus]
    for row, (first, last) in enumerate(zip(encoded.starts[:-1], encoded.starts[1:], strict=True)):
        assert (encoded.ids[first], encoded.ids[last - 1]) == (tokenizer.cls_id, tokenizer.sep_id), row
        text = tokenizer.decode(encoded.ids[first:last])
        assert any(text in document for document in documents)
    assert batch.word_starts[encoded.starts[:-1]].all()


def test_every_sequence_comes_once_before_any_comes_twice(corpus: Corpus, tokenizer: Any) -> None:
    sampler = Sampler(corpus, tokenizer, max_length=16, seed=0)
    seen: Counter[tuple[int, ...]] = Counter()
    stream = sampler._streams["a"]
    for first in range(0, 2 * len(stream), 3):
        seen.update(map(tuple, stream.take(first, 3).tolist()))
    assert set(seen.values()) <= {2, 3}
    assert len(seen) == len(stream)


def test_shards_are_mixed_by_weight_and_size(corpus: Corpus, tokenizer: Any) -> None:
    sampler = Sampler(corpus, tokenizer, max_length=16, seed=0)
    for step in range(60):
        sampler.batch(step, tokens=300)
    a, b = sampler._streams["a"], sampler._streams["b"]
    expected = len(a) / (len(a) + 2 * len(b))
    assert sampler.taken["a"] / sum(sampler.taken.values()) == pytest.approx(expected, rel=0.2)


def test_a_sampler_goes_on_where_another_stopped(corpus: Corpus, tokenizer: Any) -> None:
    first = Sampler(corpus, tokenizer, max_length=16, seed=3)
    for step in range(5):
        first.batch(step, tokens=100)
    second = Sampler(corpus, tokenizer, max_length=16, seed=3, taken=first.taken)
    np.testing.assert_array_equal(first.batch(5, tokens=100).encoded.ids, second.batch(5, tokens=100).encoded.ids)


def test_co_occurrences_equal_counting_one_by_one(corpus: Corpus) -> None:
    vocab = 8192
    slow = np.zeros((vocab, vocab))
    for shard in corpus.values():
        for begin, end in zip(shard.starts[:-1], shard.starts[1:], strict=True):
            for i in range(begin, end):
                for j in range(i + 1, min(i + 5, end)):
                    a, b = shard.ids[i], shard.ids[j]
                    slow[a, b] += shard.weight / (j - i)
                    slow[b, a] += shard.weight / (j - i)
    np.testing.assert_allclose(co_occurrences(corpus, vocab=vocab, tokens=10**9), slow, rtol=1e-5)


def test_information_is_positive_and_zero_without_association() -> None:
    counts = torch.outer(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, 2.0, 4.0]))
    plain = positive_information(counts.clone())
    assert (plain >= 0).all()
    counts[0, 0] += 5
    assert positive_information(counts)[0, 0] > plain[0, 0]


def test_tokens_in_like_contexts_get_like_vectors(tmp_path: Path, write: Any, tokenizer: Any) -> None:
    write(tmp_path / "c.safetensors", ["我吃苹果了吗", "我吃香蕉了吗", "他开汽车走呢", "他开火车走呢"] * 3)
    found = Corpus.open(tmp_path, tokenizer_digest=tokenizer.digest)
    vectors = context_vectors(found, vocab=8192, width=4, tokens=10**9)
    id_of = {character: tokenizer.vocabulary.index(character) for character in "苹香汽"}
    near, far = (torch.cosine_similarity(vectors[id_of["苹"]], vectors[id_of[other]], dim=0) for other in "香汽")
    assert near > far + 0.3
    assert torch.equal(vectors, context_vectors(found, vocab=8192, width=4, tokens=10**9))
    np.testing.assert_allclose(vectors.norm(dim=1).numpy(), 0.02 * 4**0.5, rtol=1e-4)


def test_heads_start_by_looking_at_one_neighbour_each(corpus: Corpus, batch: Any) -> None:
    encoder = Encoder(EncoderConfig(vocab=8192, layers=2, width=192, heads=6, inner=64, positions=64))
    initialise(encoder, 0)
    start_from_counts(encoder, corpus, seed=0)
    packed = batch([20])
    hidden = encoder.embeddings(replace(packed, types=torch.zeros_like(packed.types)))
    q, k = encoder.blocks[0].qkv(hidden).view(20, 3, 6, 32)[:, :2].unbind(1)
    looks = torch.einsum("qhk,nhk->hqn", q, k).argmax(-1)
    for head, offset in enumerate((-1, 1, -2, 2, -3, 3)):
        expected = torch.arange(20) + offset
        inside = (expected >= 0) & (expected < 20)
        assert (looks[head] == expected)[inside].float().mean() > 0.85, f"head {head}"  # the norm makes some a little longer


def test_rates_rise_stay_and_fall() -> None:
    factors = [warmup_stable_decay(done / 100, warmup=0.1, decay=0.3) for done in range(101)]
    assert factors[0] == 0.0
    assert factors[10:71] == [1.0] * 61
    assert factors[85] == pytest.approx(0.5)
    assert factors[100] == 0.0


def test_muon_takes_the_matrices_of_the_layers_and_adamw_all_else() -> None:
    encoder, head = Encoder(EncoderConfig(vocab=50, layers=2, width=8, heads=2, inner=16)), MaskedLMHead(8, 50)
    optimizers = Optimizers(encoder, head, PretrainSettings(steps=1)).all
    taken = {name: [p for group in each.param_groups for p in group["params"]] for name, each in optimizers.items()}
    assert sum(p.numel() for p in taken["muon"]) == 2 * (4 * 64 + 2 * 128)
    every = [*encoder.parameters(), *head.parameters()]
    assert sum(p.numel() for group in taken.values() for p in group) == sum(p.numel() for p in every)
    assert all(not group["weight_decay"] for group in optimizers["adamw"].param_groups if group["params"][0].ndim == 1)


def test_the_average_follows_and_can_be_swapped_in() -> None:
    weight = torch.zeros(3)
    average = Average({"w": weight}, decay=0.9)
    expected = torch.zeros(3)
    for step in range(1, 6):
        weight += 1
        average.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight
    torch.testing.assert_close(average.averaged["w"], expected)
    average.swap()
    torch.testing.assert_close(weight, expected)
    average.swap()
    assert weight.tolist() == [5.0] * 3


def test_operations_are_those_of_the_matrix_products() -> None:
    config = EncoderConfig(vocab=100, layers=2, width=8, heads=2, inner=16)
    products = 2 * (2 * 8 * 24 + 2 * 8 * 8 + 2 * 8 * 16 * 2 + 2 * 2 * 10 * 8)
    assert token_flops(config, length=10, predicted=0.5) == 3 * (products + 0.5 * (2 * 8 * 8 + 2 * 8 * 100))
    assert matrix_flops(torch.device("cpu"), torch.float32) > 1e8
