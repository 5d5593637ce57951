"""Our AdamW takes the steps of torch's, whatever it leaves out; and its state goes both ways."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import nlphub as hub
from nlphub.kernels import reference
from nlphub.recipe import TrainSettings
from nlphub.training.adamw import AdamW, clip, sparse_gradients

WORDS, READ = 40, torch.tensor([1, 3, 5, 8, 13, 21, 34])


class Network(nn.Module):
    """In float64: what differs from torch then differs by more than the order of sums."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(WORDS, 6)
        self.out = nn.Linear(6, 3)
        self.double()

    def loss(self, ids: Tensor) -> Tensor:
        return F.cross_entropy(self.out(self.words(ids)), ids % 3)


def groups(network: Network, decay: float = 0.1) -> list[dict[str, Any]]:
    matrices = {"params": [network.words.weight, network.out.weight], "lr": 1e-2, "weight_decay": decay}
    return [matrices, {"params": [network.out.bias], "lr": 1e-3, "weight_decay": 0.0}]


def batches(steps: int, seed: int = 1) -> list[Tensor]:
    """Some words come late, some again after a long time, some twice in a batch."""
    generator = torch.Generator().manual_seed(seed)
    return [READ[torch.randint(0, 2 + 5 * (step % 4 == 3), (9,), generator=generator)] for step in range(steps)]


def train(network: Network, optimizer: torch.optim.Optimizer, given: list[Tensor], limit: float | None = 0.5, parts: int = 1) -> None:
    sparse = network.words if isinstance(optimizer, AdamW) else None
    for number, ids in enumerate(given):
        for group in optimizer.param_groups:
            group["lr"] *= 0.9 + 0.02 * number
        optimizer.zero_grad()
        with sparse_gradients(sparse):
            for part in ids.chunk(parts):
                network.loss(part).backward()
        clip(optimizer, network.parameters(), limit)
        optimizer.step()


def pair(decay: float = 0.1) -> tuple[Network, AdamW, Network, torch.optim.AdamW]:
    ours, theirs = Network(), Network()
    optimizer = AdamW(groups(ours, decay))
    assert optimizer.only(ours.words.weight, READ)
    return ours, optimizer, theirs, torch.optim.AdamW(groups(theirs, decay), fused=True)


def same(ours: Network, theirs: Network) -> None:
    for name, expected in theirs.named_parameters():
        torch.testing.assert_close(dict(ours.named_parameters())[name], expected, atol=1e-7, rtol=1e-7)  # the factor of clipping is float32


@pytest.mark.parametrize("limit", [None, 0.5, 1e9])
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("parts", [1, 3])
def test_it_takes_the_steps_of_torch(decay, limit, parts):
    ours, optimizer, theirs, other = pair(decay)
    train(ours, optimizer, batches(25), limit, parts)
    train(theirs, other, batches(25), limit, parts)
    optimizer.catch_up()
    same(ours, theirs)


def test_without_clipping_what_is_read_is_learnt_bit_by_bit():
    ours, optimizer, theirs, other = pair()
    train(ours, optimizer, batches(25), None)
    train(theirs, other, batches(25), None)
    assert torch.equal(ours.words.weight[READ], theirs.words.weight[READ])
    assert torch.equal(ours.out.weight, theirs.out.weight)


def test_words_that_nobody_reads_wait_until_somebody_looks():
    ours, optimizer, theirs, other = pair()
    before = ours.words.weight.detach().clone()
    train(ours, optimizer, batches(5))
    train(theirs, other, batches(5))
    assert torch.equal(ours.words.weight[0], before[0])
    optimizer.catch_up()
    same(ours, theirs)
    after = ours.words.weight.detach().clone()
    optimizer.catch_up()
    assert torch.equal(ours.words.weight, after)


def test_the_norm_is_that_of_all_gradients():
    ours, optimizer, theirs, other = pair()
    for network in (ours, theirs):
        with sparse_gradients(network.words if network is ours else None):
            network.loss(READ.repeat(3)).backward()
    assert optimizer.clip(1.0) == pytest.approx(float(nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)), rel=1e-6)
    assert isinstance(other, torch.optim.AdamW)


def test_a_gradient_that_is_not_finite_is_told():
    ours, optimizer, *_ = pair()
    with sparse_gradients(ours.words):
        (ours.loss(READ) * torch.nan).backward()
    assert not optimizer.clip(1.0) < torch.inf


def test_a_state_goes_on_to_the_bit():
    whole, optimizer, *_ = pair()
    train(whole, optimizer, batches(4))
    optimizer.catch_up()
    halves = Network()
    halves.load_state_dict(whole.state_dict())
    again = AdamW(groups(halves))
    again.only(halves.words.weight, READ)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(whole, optimizer, batches(6, seed=2))
    train(halves, again, batches(6, seed=2))
    for one, other in zip(whole.parameters(), halves.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_state_of_torchs_own_goes_on_here():
    ours, optimizer, theirs, other = pair()
    train(theirs, other, batches(4))
    ours.load_state_dict(theirs.state_dict())
    optimizer.load_state_dict(copy.deepcopy(other.state_dict()))
    assert optimizer.state[ours.words.weight]["exp_avg"].shape[0] == len(READ)
    train(ours, optimizer, batches(4, seed=2))
    train(theirs, other, batches(4, seed=2))
    optimizer.catch_up()
    same(ours, theirs)


def test_other_words_may_be_read_in_a_later_training():
    ours, optimizer, theirs, other = pair()
    more = [ids + 1 for ids in batches(4, seed=3)]
    train(ours, optimizer, batches(4))
    optimizer.only(ours.words.weight, READ + 1)
    train(ours, optimizer, more)
    for given in (batches(4), more):
        train(theirs, other, given)
    optimizer.catch_up()
    same(ours, theirs)


def test_a_dense_gradient_means_that_all_rows_are_learnt():
    ours, optimizer, theirs, other = pair()
    train(ours, optimizer, batches(3))
    train(theirs, other, batches(3))
    for network, each in ((ours, optimizer), (theirs, other)):
        each.zero_grad()
        network.words.weight.square().sum().backward()
        each.step()
    same(ours, theirs)
    assert optimizer.state[ours.words.weight]["exp_avg"].shape == ours.words.weight.shape


def test_cleared_moments_begin_anew_without_what_waited():
    ours, optimizer, theirs, other = pair()
    train(ours, optimizer, batches(3))
    ours.load_state_dict(theirs.state_dict())
    optimizer.state.clear()
    for network, each in ((ours, optimizer), (theirs, other)):
        for group in each.param_groups:
            group["lr"] = 1e-2
        train(network, each, batches(5, seed=4))
    optimizer.catch_up()
    same(ours, theirs)


def test_a_sparse_gradient_that_was_not_announced_is_refused():
    network = Network()
    optimizer = AdamW(groups(network))
    with sparse_gradients(network.words):
        network.loss(READ).backward()
    with pytest.raises(RuntimeError, match="only"):
        optimizer.step()


def test_a_frozen_embedding_is_left_alone():
    network = Network()
    assert not AdamW([{"params": [network.out.weight]}]).only(network.words.weight, READ)


@pytest.mark.parametrize("scale", [1.0, 0.3])
@pytest.mark.parametrize("number", [float, torch.tensor])
def test_the_flat_definition_is_torchs_step(scale, number: Callable[[float], Any]):
    generator = torch.Generator().manual_seed(0)
    parameter = nn.Parameter(torch.randn(50, generator=generator))
    flat, first, second = parameter.detach().clone(), torch.zeros(50), torch.zeros(50)
    optimizer = torch.optim.AdamW([parameter], lr=1e-2, weight_decay=0.1)
    for step in range(1, 6):
        gradient = torch.randn(50, generator=generator)
        parameter.grad = gradient * scale
        optimizer.step()
        numbers = {"rate": number(1e-2), "step": number(step), "scale": number(scale)}
        reference.adamw_(flat, gradient, first, second, beta1=0.9, beta2=0.999, eps=1e-8, decay=0.1, **numbers)
    torch.testing.assert_close(flat, parameter.detach(), atol=1e-7, rtol=1e-6)


OPTIONS = [
    {},
    {"clip": None, "layer_decay": 0.8},
    {"adversarial": "fgm"},
    {"adversarial": "pgd"},
    {"average": 0.9},
    {"max_tokens": 40},
    {"r_drop": 1.0},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_training_is_that_with_torchs_optimizer(options, small_folder, rows, monkeypatch):
    """Every option that touches gradients or weights, weight decay included."""
    settings, found = TrainSettings(epochs=2, learning_rate=1e-3, weight_decay=0.3, evaluate_every=3, **options), []
    for sparse in (True, False):
        if not sparse:
            monkeypatch.setattr("nlphub.training.loop.Loop._sparse_table", lambda self: None)
        module = hub.Module(directory=small_folder)
        report = hub.Trainer(module, settings=settings, progress=False).train(rows, eval_dataset=rows[::3])
        found.append((report.metrics.accuracy, module.state_dict()))
    (score, ours), (expected, theirs) = found
    assert score == expected
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], atol=2e-5, rtol=1e-4)
    unread = module.tokenizer.vocabulary.index("龘") if "龘" in module.tokenizer.vocabulary else 7000
    word = "encoder.embeddings.word.weight"
    torch.testing.assert_close(ours[word][unread], theirs[word][unread], atol=1e-7, rtol=1e-5)
    assert not torch.equal(ours[word][unread], hub.Module(directory=small_folder).state_dict()[word][unread])
