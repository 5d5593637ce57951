"""A linear model in the manner of fastText (Joulin et al., 2017): the mean of the embeddings of hashed n-grams, then softmax.

Adam instead of fastText's plain gradient steps, because it needs no search for a rate on sets of very different sizes.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from judging.features import Bag

Scorer = Callable[[Any], tuple[list[str], Any]]  # n things -> names of the classes, and (n, classes) log-probabilities


def fit_bags(bags: Sequence[Bag], targets: Sequence[str], settings: dict[str, Any], *, seed: int) -> Scorer:
    """Learn from bags of feature numbers. Features that training never saw are passed over.

    Args:
        settings: ``width``, ``batch_size``, ``learning_rate`` (falls linearly to 0), ``epochs``, or more where they make
            less than ``least_steps``.
        seed: of the first weights and the order of the bags.
    """
    names = sorted(set(targets))
    numbers = {bucket: number for number, bucket in enumerate(sorted({bucket for bag in bags for bucket in bag}))}
    model = _Bags(len(numbers), settings["width"], len(names), seed)
    known = [_known(bag, numbers) for bag in bags]
    index = {name: number for number, name in enumerate(names)}
    _fit(model, known, np.array([index[name] for name in targets]), settings, seed=seed)

    def score(asked: Sequence[Bag]) -> tuple[list[str], Any]:
        with torch.no_grad():
            logits = [model(*_flat([_known(bag, numbers) for bag in asked[at : at + 4096]])) for at in range(0, len(asked), 4096)]
        return names, torch.cat(logits).double().log_softmax(1).numpy()

    return score


class _Bags(torch.nn.Module):
    def __init__(self, features: int, width: int, labels: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.table = torch.nn.Parameter(torch.empty(features, width).uniform_(-1 / width, 1 / width, generator=generator))
        self.output = torch.nn.Parameter(torch.zeros(labels, width))
        self.bias = torch.nn.Parameter(torch.zeros(labels))

    def forward(self, flat: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
        """Logits ``(b, labels)`` of ``b`` bags, laid end to end."""
        return F.linear(F.embedding_bag(flat, self.table, starts, mode="mean", sparse=True), self.output, self.bias)


def _fit(model: _Bags, bags: list[list[int]], targets: Any, settings: dict[str, Any], *, seed: int) -> None:
    batch, rate = settings["batch_size"], settings["learning_rate"]
    optimizers = (torch.optim.SparseAdam([model.table], lr=rate), torch.optim.Adam([model.output, model.bias], lr=rate))
    order = np.random.default_rng(seed)
    per_epoch = -(-len(bags) // batch)
    epochs = max(settings["epochs"], -(-settings["least_steps"] // per_epoch))
    steps = [rows for _ in range(epochs) for rows in np.array_split(order.permutation(len(bags)), per_epoch)]
    for number, rows in enumerate(steps):
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = rate * (1 - number / len(steps))
            optimizer.zero_grad()
        F.cross_entropy(model(*_flat([bags[row] for row in rows])), torch.from_numpy(targets[rows])).backward()
        for optimizer in optimizers:
            optimizer.step()


def _known(bag: Bag, numbers: dict[int, int]) -> list[int]:
    return [numbers[bucket] for bucket in bag if bucket in numbers]


def _flat(bags: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    starts = np.concatenate([[0], np.cumsum([len(bag) for bag in bags])])[:-1]
    return torch.tensor([number for bag in bags for number in bag], dtype=torch.int64), torch.from_numpy(starts.astype(np.int64))
