"""The peers of the training benchmark: a plain PyTorch loop, tuned as far as it goes, the Hugging Face Trainer, and matrix products alone.

All fine-tune the same ERNIE classifier from the same weights with the same recipe: AdamW with decay groups, clipping, batches of 32.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import nlphub as hub
from nlphub.checkpoints.huggingface import to_huggingface
from nlphub.checkpoints.huggingface_config import config_to_huggingface
from nlphub.kernels.native.products import product
from nlphub.recipe import TrainSettings
from speeds.networks import CONFIGURATIONS, Shape
from speeds.turns import Turns

MEGABATCH = 50  # batches that are sorted by length together, as the Trainer's group_by_length does


@dataclass(frozen=True, slots=True)
class Texts:
    """Tokenised texts with labels, for all variants.

    Attributes:
        rows: what `hub.Trainer` is given.
        ids: token ids of each text.
        labels: ``(n,)`` numbers.
    """

    rows: list[tuple[str, str]]
    ids: list[list[int]]
    labels: np.ndarray[Any, Any]

    @property
    def lengths(self) -> np.ndarray[Any, Any]:
        return np.array([len(ids) for ids in self.ids])

    def shorter_half(self) -> "Texts":
        """Those below the median length: batches of them have little padding."""
        kept = np.flatnonzero(self.lengths < np.median(self.lengths))
        return Texts([self.rows[row] for row in kept], [self.ids[row] for row in kept], self.labels[kept])

    def padded(self, batch: Sequence[int], width: int = 0) -> dict[str, Tensor]:
        """A batch as transformers takes it, as wide as its longest text or as ``width``."""
        width = width or max(len(self.ids[row]) for row in batch)
        ids = torch.zeros(len(batch), width, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for place, row in enumerate(batch):
            ids[place, : len(self.ids[row])] = torch.tensor(self.ids[row])
            mask[place, : len(self.ids[row])] = 1
        return {"input_ids": ids, "attention_mask": mask, "labels": torch.from_numpy(self.labels[list(batch)])}


def tokenised(module: hub.Module, texts: Sequence[str], *, seed: int = 0) -> Texts:
    """The texts with random labels of the module."""
    labels = np.random.default_rng(seed).integers(0, len(module.labels), len(texts))
    encoded = module.tokenize(texts)
    ids = [encoded.ids[first:last].tolist() for first, last in zip(encoded.starts[:-1], encoded.starts[1:], strict=True)]
    return Texts([(text, module.labels[label]) for text, label in zip(texts, labels, strict=True)], ids, labels)


def model_of(module: hub.Module, *, dropout: float) -> Any:
    """The same network and weights in transformers, with scaled_dot_product_attention."""
    from transformers import ErnieConfig, ErnieForSequenceClassification

    numbers = config_to_huggingface(module.encoder.config, labels=module.labels, model_type="ernie")
    numbers |= {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    config = ErnieConfig(**{key: value for key, value in numbers.items() if key not in ("model_type", "architectures")})
    config._attn_implementation = "sdpa"
    model = ErnieForSequenceClassification(config)
    model.load_state_dict(to_huggingface(module.encoder, module.head, prefix="ernie"))
    return model.train()


class PlainLoop:
    """Length-grouped batches padded to their longest text, sdpa, fused AdamW, gradients set to None."""

    def __init__(self, model: Any, texts: Texts, settings: TrainSettings, batches: Iterator[Sequence[int]]) -> None:
        self.model, self.texts, self.settings, self.batches = model, texts, settings, batches
        groups = [{"params": [], "weight_decay": settings.weight_decay}, {"params": [], "weight_decay": 0.0}]
        for parameter in model.parameters():
            groups[int(parameter.ndim == 1)]["params"].append(parameter)
        self.optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)
        self.losses: list[float] = []

    def run(self, steps: int) -> int:
        """Train; the tokens that were learnt from."""
        tokens = 0
        for _ in range(steps):
            batch = next(self.batches)
            loss = self.model(**self.texts.padded(batch)).loss
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if self.settings.clip is not None:
                nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
            self.optimizer.step()
            self.losses.append(loss.item())
            tokens += int(self.texts.lengths[list(batch)].sum())
        return tokens


def grouped(texts: Texts, size: int, *, seed: int = 0) -> Iterator[Sequence[int]]:
    """Batches of similar lengths for ever: megabatches sorted by length, whole batches then in random order."""
    generator, lengths = np.random.default_rng(seed), texts.lengths
    while True:
        order = generator.permutation(len(lengths))
        parts = [order[first : first + MEGABATCH * size] for first in range(0, len(order), MEGABATCH * size)]
        ordered = np.concatenate([part[np.argsort(-lengths[part], kind="stable")] for part in parts])
        batches = [ordered[first : first + size].tolist() for first in range(0, len(ordered) - size + 1, size)]
        yield from (batches[place] for place in generator.permutation(len(batches)).tolist())


def huggingface(turns: Turns, model: Any, texts: Texts, settings: TrainSettings, *, width: int, folder: Path) -> None:
    """`transformers.Trainer`, which takes turns between its steps.

    Args:
        width: tokens that every text is padded to; 0 = the longest of the batch.
        folder: for its output.
    """
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    batches: deque[int] = deque()  # tokens of those that are on their way

    def collate(rows: Sequence[int]) -> dict[str, Tensor]:
        batches.append(int(texts.lengths[list(rows)].sum()))
        return texts.padded(rows, width)

    class Pauses(transformers.TrainerCallback):  # type: ignore[misc]
        wanted = learnt = 0

        def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            self.begin(control)

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            self.wanted, self.learnt = self.wanted - 1, self.learnt + batches.popleft()
            if self.wanted == 0:
                turns.done(self.learnt)
                self.begin(control)

        def begin(self, control: Any) -> None:
            self.wanted, self.learnt = next(turns, 0), 0
            control.should_training_stop = self.wanted == 0

    arguments = transformers.TrainingArguments(
        output_dir=str(folder), per_device_train_batch_size=settings.batch_size, max_steps=10**6, save_strategy="no", report_to="none",
        logging_steps=10**6, disable_tqdm=True, use_cpu=True, learning_rate=settings.learning_rate, weight_decay=settings.weight_decay,
        max_grad_norm=settings.clip or 0.0, lr_scheduler_type="constant", remove_unused_columns=False, dataloader_drop_last=True,
    )  # fmt: skip
    rows = list(range(len(texts.ids)))
    transformers.Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collate, callbacks=[Pauses()]).train()


class Products:
    """Only the matrix products of our step, forward and backward, on the same rows: all else that a step does is missing.

    Args:
        own: those that our step computes with, into memory of each; else PyTorch's, into memory that is there.
        most: rows of a batch.
    """

    def __init__(self, shape: Shape, lengths: np.ndarray[Any, Any], batches: Iterator[Sequence[int]], *, most: int, own: bool) -> None:
        self.lengths, self.batches, self.own = lengths, batches, own
        d, m = shape.width, shape.inner
        self.whole = [(d, 3 * d), (d, d), (d, m), (m, d)] * (shape.layers - 1) + [(d, 2 * d)]
        self.first = [(d, d), (d, d), (d, m), (m, d), (d, d)]  # of the last layer, and of the pooler: one row a sequence
        self.inputs = {width: torch.randn(most, width) for width in {d, 2 * d, 3 * d, m}}
        self.outputs = {width: torch.empty(most, width) for width in self.inputs}
        self.weights = [(torch.randn(n, k), torch.empty(n, k)) for k, n in (*self.whole, *self.first)]

    def run(self, steps: int) -> int:
        """The products of some steps; the tokens of their batches."""
        tokens = 0
        for _ in range(steps):
            batch = next(self.batches)
            count = int(self.lengths[list(batch)].sum())
            rows = [count] * len(self.whole) + [len(batch)] * len(self.first)
            for (k, n), t, (weight, gradient) in zip((*self.whole, *self.first), rows, self.weights, strict=True):
                x, y = self.inputs[k][:t], self.inputs[n][:t]
                if self.own:
                    product(x, weight.t()), product(y, weight), product(y.t(), x)
                else:
                    torch.mm(x, weight.t(), out=self.outputs[n][:t])
                    torch.mm(y, weight, out=self.outputs[k][:t])
                    torch.mm(y.t(), x, out=gradient)
            tokens += count
        return tokens


def products_of(name: str, texts: Texts, batches: Iterator[Sequence[int]], *, size: int, own: bool = False) -> Products:
    """Of a configuration; buffers fit the longest batch that can come."""
    return Products(CONFIGURATIONS[name], texts.lengths, batches, most=int(np.sort(texts.lengths)[-size:].sum()), own=own)
