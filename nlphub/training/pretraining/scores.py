"""Masked accuracy on held-out text, by source, always with the same masks: what a pretraining is judged by."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

import numpy as np
import torch
from torch.nn import functional as F

from nlphub.data.batching import pack, token_batches
from nlphub.data.shards import Corpus
from nlphub.module import Module
from nlphub.nn.encoder import to_tensors
from nlphub.text.masking import IGNORED
from nlphub.training.precision import autocast
from nlphub.training.pretraining.sampling import assemble, cut

RATE = 0.15  # share of words that are masked: BERT's, whatever the training used
_BATCH_TOKENS = 8192


@dataclass(frozen=True, slots=True)
class Score:
    """Predictions of masked tokens.

    Attributes:
        predicted: how many.
        right: how many best guesses are right.
        loss: sum of the cross-entropies, in nats.
    """

    predicted: int
    right: int
    loss: float

    @property
    def accuracy(self) -> float:
        """Share of right best guesses."""
        return self.right / max(1, self.predicted)

    def __add__(self, other: "Score") -> "Score":
        return Score(self.predicted + other.predicted, self.right + other.right, self.loss + other.loss)

    @property
    def mean_loss(self) -> float:
        """Cross-entropy of a predicted token, in nats."""
        return self.loss / max(1, self.predicted)

    def as_dict(self) -> dict[str, float]:
        """As it stands in scores.json, with accuracy and mean loss for readers."""
        means = {"accuracy": round(self.accuracy, 4), "mean_loss": round(self.mean_loss, 4)}
        return {**means, "predicted": self.predicted, "right": self.right, "loss": self.loss}

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> "Score":
        """What :meth:`as_dict` gave."""
        return cls(int(facts["predicted"]), int(facts["right"]), float(facts["loss"]))


def masked_scores(
    module: Module, corpus: Corpus, *, max_length: int, tokens: int = 8192, dtype: torch.dtype = torch.float32
) -> dict[str, Score]:
    """Scores by source, on the first ``tokens`` tokens of each shard. Whole words are masked; masks follow the shard's name.

    Args:
        module: with a masked-LM head.
        corpus: held-out shards.
        max_length: tokens of a sequence.
        dtype: of matrix products.
    """
    found: dict[str, Score] = {}
    for name in corpus.shards:
        score = _shard_score(module, corpus, name, max_length=max_length, tokens=tokens, dtype=dtype)
        source = corpus[name].source or name
        found[source] = found.get(source, Score(0, 0, 0.0)) + score
    return dict(sorted(found.items()))


def total(scores: Mapping[str, Score]) -> Score:
    """All sources together; each counts with the tokens that it has."""
    return sum(scores.values(), Score(0, 0, 0.0))


def _shard_score(module: Module, corpus: Corpus, name: str, *, max_length: int, tokens: int, dtype: torch.dtype) -> Score:
    shard, score = corpus[name], Score(0, 0, 0.0)
    spans = cut(shard.starts, room=max_length - 2)
    spans = spans[: int(np.searchsorted(np.cumsum(spans[:, 1] - spans[:, 0] + 2), tokens)) + 1]
    if not len(spans):
        return score
    batch = assemble([(shard, begin, end) for begin, end in spans.tolist()], module.tokenizer)
    generator = np.random.default_rng(crc32(name.encode()))
    masked = module.tokenizer.mask(batch.encoded, batch.word_starts, generator=generator, rate=RATE)
    encoded = replace(batch.encoded, ids=masked.ids)
    for rows in token_batches(encoded.lengths, max_tokens=_BATCH_TOKENS):
        targets = torch.from_numpy(np.concatenate([masked.targets[encoded.starts[r] : encoded.starts[r + 1]] for r in rows]))
        wanted = torch.nonzero(targets != IGNORED).ravel().to(module.device)
        goal = targets.to(module.device)[wanted]
        with torch.inference_mode(), autocast(module.device, dtype):
            logits = module.task_head(module.encoder(to_tensors(pack(encoded, rows), module.device))[wanted]).float()
        loss = F.cross_entropy(logits, goal, reduction="sum")
        score += Score(len(goal), int((logits.argmax(1) == goal).sum()), float(loss))
    return score
