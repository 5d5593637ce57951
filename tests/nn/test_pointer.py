"""Spans by pairs of tokens: the loss against its formula, scores in torch and numpy alike, batches do not matter."""

import numpy as np
import pytest
import torch

from nlphub.data.examples import Example, Examples
from nlphub.data.spans import Span
from nlphub.nn import pointer
from nlphub.nn.pointer import PointerHead, pair_scores, text_loss
from nlphub.tasks.base import IGNORED
from nlphub.tasks.pointing import INNER, Pointing, pair_parts

LABELS = ("a", "b", "c")
OUTPUTS = 2 * INNER + 2 * len(LABELS)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_pairs_score_alike_in_numpy_and_in_torch() -> None:
    rows = drawn(7, OUTPUTS)
    shared, starts, ends = pair_parts(rows.numpy(), INNER, len(LABELS))
    for number, scores in enumerate(pair_scores(rows, INNER)):
        np.testing.assert_allclose(scores.numpy(), shared + starts[:, number, None] + ends[None, :, number], atol=1e-10)


def test_what_labels_share_depends_on_the_distance_of_two_tokens_only() -> None:
    rows = drawn(1, OUTPUTS).repeat(6, 1).numpy()
    shared, *_ = pair_parts(rows, INNER, len(LABELS))
    for distance in range(6):
        np.testing.assert_allclose(np.diagonal(shared, distance), shared[0, distance], atol=1e-9)
    assert np.unique(shared[0].round(6)).size == 6


def test_the_loss_is_its_formula_over_all_pairs() -> None:
    rows, right = drawn(5, OUTPUTS), {(0, 0, 1), (0, 1, 1), (2, 0, 4)}  # label, first, last
    codes = torch.full((5, 2), IGNORED)
    codes[0, 0], codes[0, 1], codes[1, 0] = 1 * 3 + 0, 4 * 3 + 2, 1 * 3 + 0
    scores, losses = pair_scores(rows, INNER), []
    for label in range(3):
        pairs = [(label, i, j) for i in range(5) for j in range(i, 5)]
        wrong = 1 + sum(scores[pair].exp() for pair in pairs if pair not in right)
        true = 1 + sum((-scores[pair]).exp() for pair in pairs if pair in right)
        losses.append(wrong.log() + torch.as_tensor(true, dtype=torch.float64).log())
    torch.testing.assert_close(text_loss(rows, codes, INNER), torch.stack(losses).mean())


def test_gradients_are_exact() -> None:
    codes = torch.tensor([[2 * 3 + 1], [IGNORED], [IGNORED]])
    rows = drawn(3, OUTPUTS).requires_grad_()
    assert torch.autograd.gradcheck(lambda rows: text_loss(rows, codes, INNER), [rows])


def test_texts_lose_alike_alone_and_packed_and_when_scores_are_made_twice(batch, monkeypatch: pytest.MonkeyPatch) -> None:
    head, lengths = PointerHead(8, OUTPUTS), [5, 2, 9]
    logits = drawn(sum(lengths), OUTPUTS).float().requires_grad_()
    codes = torch.full((sum(lengths), 1), IGNORED)
    codes[1, 0], codes[10, 0] = 2 * 3 + 1, 4 * 3
    targets = (torch.zeros(3, dtype=torch.int64), codes)
    losses = head.loss(logits, targets, packed=batch(lengths))
    assert losses.shape == (3,)
    assert losses[1] == 0, "a text without a token"
    alone = head.loss(logits[7:], (targets[0][2:], codes[7:]), packed=batch([9]))
    torch.testing.assert_close(losses[2:], alone)
    (once,) = torch.autograd.grad(losses.sum(), logits)
    monkeypatch.setattr(pointer, "_KEPT", 0)
    (twice,) = torch.autograd.grad(head.loss(logits, targets, packed=batch(lengths)).sum(), logits)
    torch.testing.assert_close(once, twice, rtol=0, atol=0)


def test_the_loss_is_float32_under_autocast(batch) -> None:
    head, logits = PointerHead(8, OUTPUTS), drawn(6, OUTPUTS).bfloat16()
    targets = (torch.zeros(1, dtype=torch.int64), torch.full((6, 1), IGNORED))
    with torch.autocast("cpu", torch.bfloat16):
        losses = head.loss(logits, targets, packed=batch([6]))
    assert losses.dtype == torch.float32
    torch.testing.assert_close(losses, head.loss(logits.float(), targets, packed=batch([6])))


def test_targets_hold_nested_spans_and_leave_out_what_was_cut() -> None:
    from pathlib import Path

    from nlphub.text.tokenizers import load_tokenizer

    tokenizer = load_tokenizer(Path(__file__).parents[2] / "tokenizers" / "zh_char")
    spans = (Span(0, 2, "a"), Span(0, 4, "b"), Span(2, 4, "a"), Span(3, 6, "a"))
    examples = Examples([Example("北京大学附中", spans=spans), Example("好", spans=())])
    whole, codes = Pointing().targets(examples, tokenizer.encode(examples.texts), LABELS)
    assert whole.tolist() == [0, 0]
    assert codes.tolist()[1:5] == [[1 * 3 + 0, 3 * 3 + 1], [IGNORED] * 2, [3 * 3 + 0, IGNORED], [5 * 3 + 0, IGNORED]]
    _, short = Pointing().targets(examples, tokenizer.encode(examples.texts, max_length=6), LABELS)
    assert short.tolist()[1:5] == [*codes.tolist()[1:4], [IGNORED] * 2]
