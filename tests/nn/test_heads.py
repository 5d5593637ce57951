"""Heads: shapes, losses against torch's own, dropout, tied weights."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from nlphub.kernels import Noise
from nlphub.nn.encoder import Encoder, EncoderConfig
from nlphub.nn.heads import MaskedLMHead, SequenceHead, TokenHead
from nlphub.nn.inference import head_logits
from nlphub.nn.initialise import initialise
from nlphub.text.encoding import Encoded

CONFIG = EncoderConfig(vocab=50, layers=1, width=24, heads=3, inner=40, positions=64)


def test_the_loss_of_each_row_is_its_cross_entropy():
    generator = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(6, 4, generator=generator), torch.tensor([0, 1, 2, 3, 0, 1])
    head = SequenceHead(24, 4)
    torch.testing.assert_close(head.loss(logits, targets), -logits.log_softmax(-1)[torch.arange(6), targets])
    weights = torch.tensor([0.5, 1.0, 2.0, 4.0])
    weighted = head.loss(logits, targets, class_weights=weights)
    torch.testing.assert_close(weighted, head.loss(logits, targets) * weights[targets])
    torch.testing.assert_close(weighted.sum() / weights[targets].sum(), F.cross_entropy(logits, targets, weight=weights))
    smooth = 0.9 * head.loss(logits, targets) + 0.1 * -logits.log_softmax(-1).mean(-1)
    torch.testing.assert_close(head.loss(logits, targets, label_smoothing=0.1), smooth)


def test_losses_are_float32_whatever_the_logits_are():
    logits = torch.randn(3, 4, dtype=torch.bfloat16)
    losses = SequenceHead(24, 4).loss(logits, torch.tensor([0, 1, 2]), class_weights=torch.ones(4, dtype=torch.float64))
    assert losses.dtype == torch.float32
    assert losses.shape == (3,)


def test_class_weights_keep_their_precision_under_rough_logits():
    logits, targets, weights = torch.randn(2, 2, dtype=torch.bfloat16), torch.tensor([0, 1]), torch.tensor([1.001, 0.3])
    losses = SequenceHead(24, 2).loss(logits, targets, class_weights=weights)
    torch.testing.assert_close(losses, SequenceHead(24, 2).loss(logits.float(), targets) * weights[targets], rtol=1e-6, atol=0)


def test_noise_drops_pooled_values_and_needs_the_batch(batch):
    packed, head = batch([3, 4, 5]), SequenceHead(24, 4, dropout=0.5)
    initialise(head, 1)
    hidden = torch.randn(3, 24, generator=torch.Generator().manual_seed(0))
    noisy = head(hidden, packed, noise=Noise(1))
    assert not torch.allclose(noisy, head(hidden))
    assert torch.equal(noisy, head(hidden, packed, noise=Noise(1)))
    with pytest.raises(TypeError, match="needs the packed batch"):
        head(hidden, noise=Noise(1))


def test_a_token_head_answers_for_every_row_and_drops_hidden_values_by_place(batch):
    packed, head = batch([3, 4, 5]), TokenHead(24, 7, dropout=0.5)
    initialise(head, 1)
    hidden = torch.randn(12, 24, generator=torch.Generator().manual_seed(0))
    assert head(hidden).shape == (12, 7)
    noisy = head(hidden, packed, noise=Noise(1))
    assert not torch.allclose(noisy, head(hidden))
    alone = head(hidden[3:7], batch([3, 4, 5], rows=[1]), noise=Noise(1))
    torch.testing.assert_close(noisy[3:7], alone)  # masks follow example and position, not the place in a batch
    with pytest.raises(TypeError, match="needs the packed batch"):
        head(hidden, noise=Noise(1))


def test_rows_without_a_target_have_no_loss():
    logits, head = torch.randn(3, 4), TokenHead(24, 4)
    losses = head.loss(logits, torch.tensor([1, -100, 2]), class_weights=torch.ones(4), label_smoothing=0.1)
    assert losses[1] == 0
    assert (losses[[0, 2]] > 0).all()


def test_logits_of_wanted_tokens_are_those_of_all_tokens_at_their_places():
    generator, lengths = np.random.default_rng(0), np.array([3, 9, 1, 5])
    starts = np.concatenate([[0], np.cumsum(lengths)])
    none = np.zeros((18, 2), np.int64)
    encoded = Encoded(generator.integers(0, 50, 18), np.zeros(18, np.int64), none, starts, np.zeros(4, np.bool_))
    encoder, head = Encoder(CONFIG), TokenHead(24, 7)
    initialise(encoder, 1)
    initialise(head, 2)
    wanted = generator.random(18) < 0.4
    everything = head_logits(encoder, head, encoded)
    assert everything.shape == (18, 7)
    np.testing.assert_allclose(head_logits(encoder, head, encoded, wanted), everything[wanted], atol=1e-6)
    assert head_logits(encoder, head, encoded, np.zeros(18, np.bool_)).shape == (0, 7)


def test_the_masked_lm_decoder_is_the_word_embedding(batch):
    packed, encoder, head = batch([5, 7]), Encoder(CONFIG), MaskedLMHead(24, 50)
    initialise(encoder, 1)
    initialise(head, 2)
    head.attach(encoder)
    rows, targets = torch.tensor([1, 6, 8]), torch.tensor([4, 5, 6])
    logits = head(encoder(packed)[rows])
    assert logits.shape == (3, 50)
    head.loss(logits, targets).mean().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in head.parameters())
    assert encoder.embeddings.word.weight.grad[9].abs().sum() > 0  # a word that stands nowhere in the batch: the decoder's share
    assert sorted(head.state_dict()) == ["bias", "norm.bias", "norm.weight", "transform.bias", "transform.weight"]


def test_the_tie_survives_copies_and_moves():
    both = torch.nn.ModuleDict({"encoder": Encoder(CONFIG), "head": MaskedLMHead(24, 50)})
    both["head"].attach(both["encoder"])
    twin = copy.deepcopy(both).to(torch.float64)
    with torch.no_grad():
        twin["encoder"].embeddings.word.weight.zero_()
    assert twin["head"](torch.randn(2, 24, dtype=torch.float64)).eq(0).all()


def test_a_masked_lm_head_without_an_encoder_says_what_is_missing():
    with pytest.raises(RuntimeError, match="attach"):
        MaskedLMHead(24, 50)(torch.randn(2, 24))
