"""What a training tells of each optimizer step."""

import math
from dataclasses import dataclass
from typing import Any

from nlphub.evaluation.metrics import Metrics
from nlphub.training.state import Progress


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step, as a fact.

    Attributes:
        step: its number, from 1, of ``total``.
        epoch: passes over the data so far, as a fraction.
        loss: mean over the examples of the batch, or over their tokens where each token has a label. With adversarial training it is that
            of the batch as it is. Not finite only where the training went back because of it.
        rate: the largest learning rate in force.
        examples: examples of the batch.
        tokens: tokens of the batch.
        seconds: what the step took, without the evaluation.
        evaluated: whether this step is an evaluation point: checkpoints are made here.
        evaluation: scores on the dev set at an evaluation point, when there is a dev set.
        score: the one of them that decides.
        improved: whether they are the best so far.
        backed_off: whether the training went back to its best weights here.
        progress: what a checkpoint made now has to know.
    """

    step: int
    total: int
    epoch: float
    loss: float
    rate: float
    examples: int
    tokens: int
    seconds: float
    progress: Progress
    evaluated: bool = False
    evaluation: Metrics | None = None
    score: float | None = None
    improved: bool = False
    backed_off: bool = False

    def as_dict(self) -> dict[str, Any]:
        """One line of ``metrics.jsonl``."""
        loss = self.loss if math.isfinite(self.loss) else None
        fact: dict[str, Any] = {"step": self.step, "epoch": round(self.epoch, 4), "loss": loss, "rate": self.rate}
        fact |= {"tokens": self.tokens, "tokens_per_second": round(self.tokens / self.seconds)}
        if self.evaluation is not None:
            fact |= {**self.evaluation.headlines, "improved": self.improved}
        return {**fact, "backed_off": True} if self.backed_off else fact


def describe(fact: Step) -> tuple[float, float, str]:
    """What a progress bar shows of a step: how much is done, of how much, and a line of text."""
    scores = list(fact.evaluation.headlines.items())[:2] if fact.evaluation is not None else []
    text = "".join(f"  dev {name} {value:.3f}" for name, value in scores)
    return fact.step, fact.total, f"epoch {fact.epoch:.1f}  loss {fact.loss:.3f}{text}"
