"""What the parts of a network are worth, measured by the loss on examples.

Layers are few: each is left out in turn and the loss is measured. Heads and inner units are many: the loss without one is estimated to
first order, as the product of what it gives and the gradient of the loss there (Michel et al., 2019, arXiv:1905.10650, for heads;
Molchanov et al., 2017 and 2019, arXiv:1906.10771, for units), of each example by itself, so that gains and losses of different examples do
not cancel; what counts is the mean of the magnitudes.

Notation: ``t`` tokens of a batch, ``b`` sequences, ``h`` heads, ``k`` width of a head.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nlphub.compress.cutting import keep_layers
from nlphub.data.batching import Packed, pack, token_batches
from nlphub.data.examples import Examples
from nlphub.module import Module
from nlphub.nn.encoder import Block, Encoder, to_tensors
from nlphub.nn.forms import variant_of
from nlphub.nn.heads import Head
from nlphub.tasks import trainable
from nlphub.tasks.base import IGNORED, Targets
from nlphub.tasks.targets import targets_of
from nlphub.text.encoding import Encoded, Ints
from nlphub.training.objectives import target_tensors

MOST = 1024  # examples that are measured on

_BATCH_TOKENS = 4096
_MASKED = 0.15

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Examples to measure a network on: tokens, and what the head should say of them.

    Attributes:
        head: whose loss is measured.
        encoded: the texts.
        targets: as the head's loss takes them.
    """

    head: Head
    encoded: Encoded
    targets: Targets

    @classmethod
    def of(cls, module: Module, examples: Examples, *, seed: int = 0) -> "Sample":
        """At most :data:`MOST` of the examples, chosen by ``seed``: of a module that fills masks their texts, masked by ``seed``."""
        rows = np.sort(np.random.default_rng(seed).permutation(len(examples))[:MOST])
        chosen = Examples([examples[row] for row in rows.tolist()], source=examples.source)
        head, encoded = module.task_head, module.tokenize(chosen.texts, chosen.pairs)
        if head.answers_words:
            starts = module.tokenizer.words(chosen.texts, encoded, chosen.pairs)
            masked = module.tokenizer.mask(encoded, starts, generator=np.random.default_rng(seed), rate=_MASKED)
            return cls(head, Encoded(masked.ids, encoded.types, encoded.offsets, encoded.starts, encoded.truncated), masked.targets)
        return cls(head, encoded, trainable(head.task, variant_of(head)).targets(chosen, encoded, module.labels))

    def batches(self) -> Iterator[Ints]:
        """Numbers of examples of similar length."""
        return token_batches(self.encoded.lengths, max_tokens=_BATCH_TOKENS)

    def losses(self, encoder: Encoder, rows: Ints) -> tuple[Packed[Tensor], Tensor]:
        """The packed batch of some examples, and their losses as the head gives them; there is no dropout."""
        device = next(encoder.parameters()).device
        packed = to_tensors(self.head.arrange(pack(self.encoded, rows)), device)
        targets: Any = target_tensors(targets_of(self.targets, self.encoded, rows), device)
        hidden: Tensor = encoder(packed, rows=self.head.rows)
        if self.head.answers_words:
            asked = targets != IGNORED
            return packed, self.head.loss(self.head(hidden[asked]), targets[asked])
        return packed, self.head.loss(self.head(hidden, packed), targets, packed=packed)

    def loss(self, encoder: Encoder) -> float:
        """The mean loss of an example."""
        with torch.inference_mode():
            return sum(float(self.losses(encoder, rows)[1].sum()) for rows in self.batches()) / len(self.encoded)


@dataclass(frozen=True, slots=True, eq=False)
class Importance:
    """How much the loss of an example changes without a part, to first order, in nats.

    Attributes:
        heads: ``(layers, h)``.
        inner: ``(layers, inner)``.
    """

    heads: Floats
    inner: Floats

    def best_heads(self, count: int) -> list[list[int]]:
        """The numbers of the most important heads of each layer, ascending; of equal ones the first."""
        return _best(self.heads, count)

    def best_inner(self, count: int) -> list[list[int]]:
        """The same of inner units."""
        return _best(self.inner, count)


def measure(encoder: Encoder, sample: Sample) -> Importance:
    """The importance of all heads and inner units."""
    config = encoder.config
    heads, inner = np.zeros((config.layers, config.heads)), np.zeros((config.layers, config.inner))
    for rows in sample.batches():
        with _tapped(encoder) as taken, torch.enable_grad():
            packed, losses = sample.losses(encoder, rows)
        gradients = torch.autograd.grad(losses.sum(), list(taken.values()))
        for ((name, layer), given), gradient in zip(taken.items(), gradients, strict=True):
            change = (given.detach() * gradient).double()
            if name == "out":
                heads[layer] += _magnitudes(change.reshape(len(change), config.heads, -1).sum(2), packed)
            else:
                inner[layer] += _magnitudes(change, packed)
    return Importance(heads / len(sample.encoded), inner / len(sample.encoded))


def choose_layers(encoder: Encoder, sample: Sample, count: int) -> tuple[int, ...]:
    """The ``count`` layers that stay when, again and again, that one goes without which the loss is lowest; of equal ones the last."""
    kept = list(range(encoder.config.layers))
    while len(kept) > count:
        trials = [(sample.loss(keep_layers(encoder, [layer for layer in kept if layer != out])), -out) for out in kept]
        kept.remove(-min(trials)[1])
    return tuple(kept)


@contextmanager
def _tapped(encoder: Encoder) -> Iterator[dict[tuple[str, int], Tensor]]:
    """What goes into the two output projections of each layer while the encoder runs, as tensors that gradients can be asked of."""
    taken: dict[tuple[str, int], Tensor] = {}

    def tap(name: str, layer: int) -> Any:
        def note(_: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            given = inputs[0] if inputs[0].requires_grad else inputs[0].detach().requires_grad_()  # of frozen weights
            taken[name, layer] = given
            return (given,)

        return note

    handles = []
    for layer, block in enumerate(encoder.blocks):
        assert isinstance(block, Block)
        handles += [getattr(block, name).register_forward_pre_hook(tap(name, layer)) for name in ("out", "down")]
    try:
        yield taken
    finally:
        for handle in handles:
            handle.remove()


def _magnitudes(change: Tensor, packed: Packed[Tensor]) -> Floats:
    """``(n,)`` sums over the sequences of the magnitude of each one's change; ``change`` is ``(t, n)``, or ``(b, n)`` of [CLS] rows."""
    if len(change) != len(packed.lengths):
        change = torch.segment_reduce(change, "sum", lengths=packed.lengths.to(change.device))
    return np.asarray(change.abs().sum(0).cpu().numpy())


def _best(values: Floats, count: int) -> list[list[int]]:
    return [sorted(np.argsort(-row, kind="stable")[:count].tolist()) for row in values]
