"""The texts, networks and training steps that the GPU benchmark compares: ours, and Hugging Face's on the same tokens.

Lengths are log-normal with means 20, 64 and 128, or all 512, the same for every run. Real tokens are counted, never padding.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from speeds.networks import CONFIGURATIONS, Shape, classifier
from speeds.training_peers import Texts, model_of, tokenised

import nlphub as hub
from gpu_parts.facts import Setting
from nlphub.kernels import cpu, dispatch, operators
from nlphub.nn.heads import SequenceHead
from nlphub.recipe import TrainSettings
from nlphub.training.adamw import AdamW
from nlphub.training.device.loop import DeviceLoop
from nlphub.training.loop import Loop
from nlphub.training.optim import parameter_groups
from nlphub.training.state import Progress

NETWORKS = {"4x312": "nano", "6x384": "ernie_tiny", "6x768": "medium", "12x768": "base"}
DRY = "toy"
LENGTHS = {"mean 20": 20, "mean 64": 64, "mean 128": 128, "all 512": 512}
_SPREAD = 0.5  # of the logarithm of the lengths
_CHARACTERS = "我想查询一下这个月的账单还有多少钱没有付请问怎么办理退货手续谢谢你们客服电话是什么时候上班"
_BATCHES = 24  # different ones; they come again and again


@dataclass(frozen=True, slots=True)
class Load:
    """What a step learns from.

    Attributes:
        network: of :data:`NETWORKS`.
        lengths: of :data:`LENGTHS`.
        sequences: of a batch.
    """

    network: str
    lengths: str
    sequences: int

    def __str__(self) -> str:
        return f"{self.network}, {self.lengths}, {self.sequences} sequences"


def lengths_of(name: str, count: int, *, dry: bool = False) -> np.ndarray[Any, Any]:
    """``(count,)`` tokens of texts, [CLS] and [SEP] included."""
    mean = LENGTHS[name]
    if mean == 512:
        return np.full(count, 24 if dry else 512)
    generator = np.random.default_rng(mean)
    drawn = generator.lognormal(np.log(mean) - _SPREAD**2 / 2, _SPREAD, count)
    return np.clip(drawn, 4, min(512, 32 if dry else 4 * mean)).astype(np.int64)


def texts_of(lengths: Sequence[int]) -> list[str]:
    """Texts of so many tokens: characters, one token each."""
    stream = cycle(_CHARACTERS)
    return ["".join(islice(stream, int(length) - 2)) for length in lengths]


def shape_of(load: Load, setting: Setting) -> Shape:
    """Numbers of the network."""
    return CONFIGURATIONS[DRY if setting.dry else NETWORKS[load.network]]


def module_of(load: Load, setting: Setting) -> Any:
    """The network with an untrained head, on the device."""
    return classifier(DRY if setting.dry else NETWORKS[load.network], setting.work).to(setting.device)


def rows_of(load: Load, module: Any, setting: Setting) -> Texts:
    """Its texts, tokenised, with labels."""
    count = load.sequences * (3 if setting.dry else _BATCHES)
    return tokenised(module, texts_of(lengths_of(load.lengths, count, dry=setting.dry).tolist()))


class Ours:
    """Our training step as the Trainer takes it: from token ids on the host to changed weights. A call is a step.

    Args:
        load: what is learnt from.
        graphs: whether steps are captured.
        padded: every text is made as long as padding would make it, and counted as it is.
        all_rows: the last layer computes all rows, not [CLS] only.

    Attributes:
        module: that learns.
    """

    def __init__(self, load: Load, setting: Setting, *, graphs: bool = False, padded: bool = False, all_rows: bool = False) -> None:
        self.module = module_of(load, setting)
        if all_rows:
            self.module.head.__class__ = _AllRows
        texts = rows_of(load, self.module, setting)
        self.lengths = texts.lengths
        rows = texts.rows if not padded else _longer(texts.rows, _width(load, setting))
        settings = TrainSettings(
            epochs=100_000, batch_size=load.sequences, learning_rate=1e-5, evaluate_every=10**9, max_tokens=1 << 24, precision="bf16",
            graphs="on" if graphs else "off",
        )  # fmt: skip
        optimizer = AdamW(parameter_groups(self.module, learning_rate=1e-5))
        self.loop = (DeviceLoop if graphs else Loop)(self.module, optimizer, settings, hub.Examples.of(rows))
        self._stream, self._progress = self.loop.batches(after=0), Progress.start(self.loop.fingerprint)

    def __call__(self) -> tuple[float, ...]:
        """One step; tokens, sequences, and the sum of the squares of lengths."""
        number, batch = next(self._stream)
        self.loop.step(number, batch, self._progress)
        lengths = self.lengths[batch]
        return float(lengths.sum()), float(len(batch)), float((lengths**2).sum())


class _AllRows(SequenceHead):
    """The same head on all rows, of which it takes those of [CLS] itself."""

    rows = "all"
    per_text = True

    def forward(self, hidden: torch.Tensor, packed: Any = None, *, noise: Any = None) -> torch.Tensor:
        return super().forward(hidden[packed.cls_rows], packed, noise=noise)


@contextmanager
def only(operations: Sequence[str], device: torch.device) -> Iterator[None]:
    """Within the block these operations go to our kernels, where they fit, and all others to torch's own calls."""
    chosen, on_cpu = dispatch.choose, dispatch.on_cpu

    def choose(operation: str, case: Any) -> Any:
        if operation in operations:
            return chosen(operation, case)
        candidate = dispatch.candidates(operation)[-1]
        return dispatch.Choice(candidate, candidate.load(operation), ())

    every = ("attention", "add_norm", "bias_gelu", "dropout", "linear", "row_keys")
    mixed = {name: getattr(operators if name in operations else cpu, name) for name in every}
    mixed["linear_gelu"] = (operators if "bias_gelu" in operations else cpu).linear_gelu
    dispatch.choose = choose
    if device.type == "cpu":
        dispatch.on_cpu = lambda: SimpleNamespace(**mixed)
    try:
        yield
    finally:
        dispatch.choose, dispatch.on_cpu = chosen, on_cpu


def _longer(rows: Sequence[tuple[str, str]], width: int) -> list[tuple[str, str]]:
    """Texts of ``width`` tokens each."""
    return [((text * width)[: width - 2], label) for text, label in rows]


class HuggingFace:
    """Hugging Face's network on the same weights and tokens, with autocast to bfloat16, fused AdamW and clipping, as its Trainer does it.

    Args:
        load: what is learnt from.
        padding: ``128``: every batch is so wide; ``dynamic``: as wide as its longest text; ``sorted``: the same, of texts of like lengths.
        compiled: through ``torch.compile``.
        attention: ``sdpa`` or ``flash_attention_2``.
    """

    def __init__(self, load: Load, setting: Setting, *, padding: str, compiled: bool = False, attention: str = "sdpa") -> None:
        module = module_of(load, setting).to("cpu")
        self.texts, self.setting = rows_of(load, module, setting), setting
        self.model = model_of(module, dropout=0.1)
        self.model.set_attn_implementation(attention)
        self.model = self.model.to(setting.device)
        decayed = [one for one in self.model.parameters() if one.ndim > 1]
        plain = [one for one in self.model.parameters() if one.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-5, fused=True)
        self.width = _width(load, setting) if padding == "128" else 0
        self.called: Any = torch.compile(self.model, dynamic=padding != "128") if compiled else self.model
        self.batches = cycle([self._made(batch) for batch in self._batches(load.sequences, ordered=padding == "sorted")])

    def step(self) -> tuple[float, ...]:
        """One training step; tokens, sequences, and the sum of the squares of lengths."""
        done, batch = next(self.batches)
        with torch.autocast(self.setting.device.type, dtype=torch.bfloat16):
            loss = self.called(**self._sent(batch)).loss
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return done

    def infer(self) -> tuple[float, ...]:
        """One batch of answers, without gradients."""
        done, batch = next(self.batches)
        with torch.inference_mode(), torch.autocast(self.setting.device.type, dtype=torch.bfloat16):
            self.called(**self._sent(batch)).logits.argmax(1).cpu()
        return done

    def _made(self, batch: list[int]) -> tuple[tuple[float, ...], dict[str, Any]]:
        """A padded batch in page-locked memory, made before anything is timed: data loaders do that beside the steps."""
        lengths, padded = self.texts.lengths[batch], self.texts.padded(batch, self.width)
        if self.setting.device.type == "cuda":
            padded = {name: one.pin_memory() for name, one in padded.items()}
        return (float(lengths.sum()), float(len(batch)), float((lengths**2).sum())), padded

    def _sent(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {name: one.to(self.setting.device, non_blocking=True) for name, one in batch.items()}

    def _batches(self, size: int, *, ordered: bool) -> Iterator[list[int]]:
        generator, lengths = np.random.default_rng(0), self.texts.lengths
        order = np.argsort(lengths, kind="stable") if ordered else generator.permutation(len(lengths))
        batches = [order[first : first + size].tolist() for first in range(0, len(order), size)]
        yield from (batches[place] for place in generator.permutation(len(batches)).tolist())


def _width(load: Load, setting: Setting) -> int:
    """What everything is padded to; longer texts have to fit, too."""
    return 32 if setting.dry else max(128, int(lengths_of(load.lengths, load.sequences * _BATCHES).max()))


def utilisation(load: Load, setting: Setting, *, tokens: float, sequences: float, squares: float, seconds: float) -> tuple[float, float]:
    """Shares of the measured peak of matrix products: of what was computed (the last layer for [CLS] only), and of the whole network."""
    shape = shape_of(load, setting)
    count = {"attended": int(squares)}
    done = [3 * shape.flops(int(tokens), int(sequences), cls_only=only, **count) for only in (True, False)]
    return done[0] / seconds / setting.peaks.flops, done[1] / seconds / setting.peaks.flops
