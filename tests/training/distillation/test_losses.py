"""Distances to a teacher beside their formulas, written out text by text and head by head."""

import math

import pytest
import torch
from torch.nn import functional as F

from nlphub.kernels import Layout
from nlphub.training.distillation.losses import hidden_distance, relation_distance, relation_heads, soft_binary, soft_cross_entropy
from nlphub.training.distillation.taps import watched
from nlphub.training.distillation.teaching import layer_map


def test_soft_targets_are_the_divergence_at_a_temperature() -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(5, 4) * 3, torch.randn(5, 4) * 3
    for temperature in (1.0, 2.5):
        for row, found in enumerate(soft_cross_entropy(student, teacher, temperature=temperature).tolist()):
            wanted, told = (logits[row].div(temperature).softmax(0) for logits in (teacher, student))
            twin = sum(p * math.log(p / q) for p, q in zip(wanted.tolist(), told.tolist(), strict=True))
            assert found == pytest.approx(temperature**2 * twin, rel=1e-4)
    torch.testing.assert_close(soft_cross_entropy(teacher, teacher, temperature=2.0), torch.zeros(5))


def test_soft_sets_are_the_divergence_of_each_output() -> None:
    torch.manual_seed(1)
    student, teacher = torch.randn(4, 3) * 2, torch.randn(4, 3) * 2
    wanted, told = (logits.div(2).sigmoid() for logits in (teacher, student))
    twin = F.binary_cross_entropy(told, wanted, reduction="none") - F.binary_cross_entropy(wanted, wanted, reduction="none")
    torch.testing.assert_close(soft_binary(student, teacher, temperature=2.0), 4 * twin.sum(1))


def test_relations_are_those_of_each_text_and_head_alone(batch) -> None:
    torch.manual_seed(2)
    lengths, heads = [3, 3, 5], 4
    packed = batch(lengths)
    student, teacher = torch.randn(11, 8), torch.randn(11, 16)  # other widths, the same number of relation heads
    found = relation_distance(student, teacher, Layout.of(packed), heads=heads)
    first = 0
    for number, length in enumerate(lengths):
        rows, total = range(first, first + length), 0.0
        for head in range(heads):
            for one in rows:
                shares = []
                for part in (student, teacher):
                    size = part.shape[1] // heads
                    columns = slice(head * size, (head + 1) * size)
                    scores = [float(part[one, columns] @ part[other, columns]) / math.sqrt(size) for other in rows]
                    whole = sum(math.exp(score) for score in scores)
                    shares.append([math.exp(score) / whole for score in scores])
                total += sum(q * math.log(q / p) for p, q in zip(*shares, strict=True))
        assert found[number].item() == pytest.approx(total / (heads * length), rel=1e-4)
        first += length
    torch.testing.assert_close(relation_distance(student, student, Layout.of(packed), heads=2), torch.zeros(3))


def test_hidden_states_are_compared_as_means_of_each_text() -> None:
    student, teacher = torch.randn(5, 3), torch.randn(5, 3)
    squares = (student - teacher).square()
    torch.testing.assert_close(
        hidden_distance(student, teacher, torch.tensor([2, 3])), torch.stack([squares[:2].mean(), squares[2:].mean()])
    )
    torch.testing.assert_close(hidden_distance(student[:2], teacher[:2], torch.tensor([2, 3])), squares[:2].mean(1))


def test_relation_heads_and_layer_maps_follow_the_two_shapes() -> None:
    assert (relation_heads(384, 384), relation_heads(384, 256), relation_heads(7, 5)) == (48, 32, 1)
    assert layer_map(None, 3, 6) == {0: 0, 1: 2, 2: 4, 3: 6}
    assert layer_map({3: 6, 1: 1}, 3, 6) == {1: 1, 3: 6}


def test_what_is_watched_is_what_the_layers_say(small_folder, batch) -> None:
    import nlphub as hub

    encoder, packed = hub.Module(directory=small_folder).encoder, batch([4, 2])
    with watched(encoder, layers=[0, 1, 2], attention=2) as seen:
        out = encoder(packed)
    assert torch.equal(seen.hidden[0], encoder.embeddings(packed))
    assert torch.equal(seen.hidden[2], out)
    again = F.linear(seen.hidden[1], encoder.blocks[1].qkv.weight, encoder.blocks[1].qkv.bias)
    assert torch.equal(torch.cat(seen.attention, dim=1), again)
    with watched(encoder) as nothing:
        encoder(packed)
    assert (nothing.hidden, nothing.attention) == ({}, ())
