"""The bi-encoder's head, against the obvious way: each text through the network alone."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from nlphub.data.apart import encode_apart
from nlphub.data.batching import pack
from nlphub.errors import InputError
from nlphub.kernels import Noise
from nlphub.nn.encoder import Encoder, EncoderConfig, to_tensors
from nlphub.nn.forms import form_problems, head_class, head_of_form
from nlphub.nn.heads import SequenceHead
from nlphub.nn.inference import head_logits
from nlphub.nn.initialise import initialise
from nlphub.nn.matching import BiEncoderHead, CrossEncoderHead
from nlphub.text.tokenizers import load_tokenizer

TOKENIZER = load_tokenizer(Path(__file__).parents[2] / "tokenizers" / "zh_char")
FIRST = ["怎么退货", "同一句话", "卡丢了怎么办呢", ""]
SECOND = ["如何把东西退掉", "同一句话", "挂失", "空"]


@pytest.fixture(scope="module")
def network() -> tuple[Encoder, BiEncoderHead]:
    encoder = Encoder(EncoderConfig(vocab=len(TOKENIZER), layers=2, width=24, heads=3, inner=40))
    head = BiEncoderHead(24, 3, dropout=0.3)
    for seed, part in enumerate((encoder, head)):
        initialise(part, seed)
        with torch.no_grad():
            for parameter in part.parameters():
                parameter.mul_(8.0 if parameter.ndim > 1 else 1.0)
    encoder.set_dropout(0.3)
    return encoder, head


def logits(network: tuple[Encoder, BiEncoderHead], rows: list[int], noise: Noise | None = None) -> Tensor:
    encoder, head = network
    packed = to_tensors(head.arrange(pack(encode_apart(TOKENIZER, FIRST, SECOND, max_length=10), np.array(rows))))
    with torch.no_grad():
        return head(encoder(packed, noise=noise), packed, noise=noise)


def slow(network: tuple[Encoder, BiEncoderHead], first: str, second: str) -> Tensor:
    encoder, head = network
    means = []
    for text in (first, second):
        packed = to_tensors(pack(TOKENIZER.encode([text], max_length=10), np.array([0])))
        means.append(encoder(packed).mean(0))
    u, v = means
    return head.classifier(torch.cat([u, v, (u - v).abs()]))


def test_logits_are_those_of_texts_read_alone(network: tuple[Encoder, BiEncoderHead]) -> None:
    found = logits(network, [0, 1, 2, 3])
    with torch.no_grad():
        expected = torch.stack([slow(network, a, b) for a, b in zip(FIRST, SECOND, strict=True)])
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)
    inference = head_logits(*network, encode_apart(TOKENIZER, FIRST, SECOND, max_length=10))
    torch.testing.assert_close(torch.from_numpy(inference), expected, rtol=0, atol=2e-5)


def test_dropout_follows_the_pair_and_differs_between_its_texts(network: tuple[Encoder, BiEncoderHead]) -> None:
    noise = Noise.of_step(0, 7)
    together = logits(network, [0, 1, 2, 3], noise)
    torch.testing.assert_close(logits(network, [3, 1], noise), together[[3, 1]], rtol=0, atol=2e-5)
    assert not torch.allclose(together, logits(network, [0, 1, 2, 3], Noise.of_step(0, 8)))
    encoder, head = network
    packed = to_tensors(head.arrange(pack(encode_apart(TOKENIZER, FIRST, SECOND, max_length=10), np.array([1]))))
    u, v = encoder(packed, noise=noise).chunk(2)
    assert packed.ids[: len(u)].tolist() == packed.ids[len(u) :].tolist()
    assert not torch.allclose(u, v), "the same text on both sides has masks of its own"


def test_vectors_are_kept_until_the_weights_change(network: tuple[Encoder, BiEncoderHead], monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, head = copy.deepcopy(network)
    pairs = encode_apart(TOKENIZER, FIRST, SECOND, max_length=10)
    before = head_logits(encoder, head, pairs)
    assert len(head.vectors) == 7, "the same sentence on both sides is read once"
    assert np.array_equal(head_logits(encoder, head, pairs), before)
    with torch.no_grad():
        encoder.embeddings.word.weight.mul_(1.5)
    changed = head_logits(encoder, head, pairs)
    head.vectors.clear()
    assert np.array_equal(head_logits(encoder, head, pairs), changed)
    assert not np.allclose(changed, before)
    head.train()
    assert len(head.vectors) == 0


def test_forms_and_variants_are_known_by_name() -> None:
    usual = {"text-matching": CrossEncoderHead, "seq-cls": SequenceHead}
    assert head_class(usual, "text-matching", None) is head_class(usual, "text-matching", "cross-encoder") is CrossEncoderHead
    assert head_class(usual, "text-matching", "bi-encoder") is BiEncoderHead
    with pytest.raises(InputError, match=r"variant='bi-encode' is none of task 'text-matching'.* Did you mean 'bi-encoder'"):
        head_class(usual, "text-matching", "bi-encode")
    with pytest.raises(InputError, match="'seq-cls' has no variants"):
        head_class(usual, "seq-cls", "bi-encoder")
    form = BiEncoderHead(24, 3).form
    assert isinstance(head_of_form(form, width=24, labels=3, dropout=0.0), BiEncoderHead)
    assert form_problems(form) == []
    for wrong in ({**form, "version": 2}, {**form, "more": 1}):
        assert "bi-encoder" in form_problems(wrong)[0]
        with pytest.raises(InputError, match="bi-encoder"):
            head_of_form(wrong, width=24, labels=3, dropout=0.0)
