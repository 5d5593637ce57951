"""The CRF: its likelihood is that of all paths one by one, its gradients are exact, batches do not matter."""

import itertools

import pytest
import torch

from nlphub.nn.chain import ChainHead, chain_losses
from nlphub.nn.heads import TokenHead
from nlphub.nn.initialise import initialise
from nlphub.tasks.viterbi import allowed

TAGS, IGNORED = 5, -100
FOLLOWS, BEGINS = allowed(TAGS)


def paths(length: int) -> list[tuple[int, ...]]:
    every = itertools.product(range(TAGS), repeat=length)
    return [path for path in every if BEGINS[path[0]] and all(FOLLOWS[pair] for pair in itertools.pairwise(path))]


def made(lengths: list[int], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scores, targets with special tokens around each text, and transitions; float64."""
    draw = torch.Generator().manual_seed(seed)
    targets = []
    for length in lengths:
        ways = paths(length) if length else [()]
        targets += [IGNORED, *ways[int(torch.randint(len(ways), (1,), generator=draw))], IGNORED]
    numbers = [torch.randn(*shape, generator=draw, dtype=torch.float64) for shape in ((len(targets), TAGS), (TAGS, TAGS), (TAGS,), (TAGS,))]
    return numbers[0], torch.tensor(targets), *numbers[1:]


def total(path: tuple[int, ...], rows: torch.Tensor, pairs: torch.Tensor, first: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
    steps = [rows[place, tag] for place, tag in enumerate(path)] + [pairs[pair] for pair in itertools.pairwise(path)]
    return torch.stack([*steps, first[path[0]], last[path[-1]]]).sum()


@pytest.mark.parametrize("seed", range(5))
def test_the_loss_is_minus_the_logarithm_of_the_share_of_all_paths(seed: int) -> None:
    lengths = [3, 0, 1, 4, 2]
    scores, targets, *added = made(lengths, seed)
    losses, row = chain_losses(scores, targets, *added), 1
    for length in lengths:
        rows, tags = scores[row : row + length], tuple(targets[row : row + length].tolist())
        if length:
            every = torch.stack([total(path, rows, *added) for path in paths(length)]).logsumexp(0)
            torch.testing.assert_close(losses[row : row + length].sum() * length, (every - total(tags, rows, *added)) * length)
        row += length + 2
    assert (losses[targets == IGNORED] == 0).all()


def test_gradients_are_exact() -> None:
    scores, targets, *added = made([3, 1, 4])
    inputs = [tensor.requires_grad_() for tensor in (scores, *added)]
    assert torch.autograd.gradcheck(lambda scores, *added: chain_losses(scores, targets, *added).sum(), inputs)


def test_texts_lose_alike_alone_and_in_any_company() -> None:
    scores, targets, *added = made([2, 5, 3])
    whole = chain_losses(scores, targets, *added)
    edges = [0, 4, 11, 16]
    alone = [chain_losses(scores[a:b], targets[a:b], *added) for a, b in itertools.pairwise(edges)]
    torch.testing.assert_close(whole, torch.cat(alone), rtol=0, atol=1e-12)


def test_texts_without_tokens_have_no_loss_and_finite_gradients() -> None:
    scores = torch.randn(4, TAGS, requires_grad=True)
    chain_losses(scores, torch.full((4,), IGNORED), torch.zeros(TAGS, TAGS), torch.zeros(TAGS), torch.zeros(TAGS)).sum().backward()
    assert scores.grad is not None
    assert (scores.grad == 0).all()


def test_a_new_crf_differs_from_the_linear_head_by_paths_out_of_order_only() -> None:
    scores, targets, *_ = made([4, 2])
    head, linear = ChainHead(8, TAGS), TokenHead(8, TAGS)
    initialise(head, seed=3)
    assert all((part == 0).all() for part in head.transitions())
    inside, logits = targets != IGNORED, scores.float()
    of_tags = logits.log_softmax(1)[inside, targets[inside]]
    in_order = torch.stack([total(path, logits[1:5].log_softmax(1), *head.transitions()) for path in paths(4)]).logsumexp(0)
    losses = head.loss(logits, targets)
    torch.testing.assert_close(losses[1:5].sum(), -of_tags[:4].sum() / 4 * 4 + in_order)
    assert losses.sum() < linear.loss(logits, targets).sum()


def test_the_loss_is_float32_under_autocast() -> None:
    scores, targets, *_ = made([4, 2])
    head = ChainHead(8, TAGS)
    with torch.autocast("cpu", torch.bfloat16):
        losses = head.loss(scores.bfloat16(), targets)
    assert losses.dtype == torch.float32
    torch.testing.assert_close(losses, head.loss(scores.bfloat16().float(), targets))


def test_options_of_losses_of_single_tokens_are_refused() -> None:
    scores, targets, *_ = made([2])
    with pytest.raises(TypeError, match="label_smoothing"):
        ChainHead(8, TAGS).loss(scores, targets, label_smoothing=0.1)


def test_what_decoding_needs_is_plain_numbers() -> None:
    head = ChainHead(8, TAGS)
    with torch.no_grad():
        head.pairs.normal_()
    assert {name: len(values) for name, values in head.decoding.items()} == {"pairs": TAGS, "first": TAGS, "last": TAGS}
    torch.testing.assert_close(torch.tensor(head.decoding["pairs"]), head.transitions()[0].detach(), rtol=0, atol=0)
