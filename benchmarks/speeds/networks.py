"""The networks that the speed benchmark runs: shapes by name, with random weights over the tokenizer of `ernie_tiny`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nlphub as hub
from nlphub.files import publish_folder

LABELS = 31


@dataclass(frozen=True, slots=True)
class Shape:
    """Numbers of an encoder; ``vocab`` may be larger than the tokenizer's vocabulary, whose entries are then the first ones."""

    layers: int
    width: int
    heads: int
    inner: int
    vocab: int

    def __str__(self) -> str:
        return f"{self.layers}x{self.width}, {self.heads} heads, {self.inner} inner, {self.vocab:,} words"

    def flops(self, tokens: int, sequences: int, *, attended: int, cls_only: bool = False) -> float:
        """Floating-point operations of the matrix products of one forward pass.

        Args:
            tokens: ``t``, of all sequences.
            sequences: ``b``.
            attended: sum over the sequences of the square of their lengths.
            cls_only: the last layer computes all but keys and values for one row of each sequence.
        """
        d, m = self.width, self.inner
        layer = tokens * (8 * d * d + 4 * d * m) + 4 * attended * d
        if not cls_only:
            return float(self.layers * layer)
        last = tokens * 4 * d * d + sequences * (4 * d * d + 4 * d * m) + 4 * tokens * d
        return float((self.layers - 1) * layer + last)


CONFIGURATIONS = {
    "nano": Shape(4, 312, 12, 1248, 40_000),
    "medium": Shape(6, 768, 12, 3072, 40_000),
    "base": Shape(12, 768, 12, 3072, 21_128),
    "ernie_tiny": Shape(6, 384, 6, 1536, 8192),
    "toy": Shape(2, 24, 2, 48, 8192),  # of the tests
}


def labels_of(count: int = LABELS) -> list[str]:
    """Names for the labels of a classifier."""
    return [f"意图{number:04d}" for number in range(count)]


def encoder_folder(name: str, work: Path) -> Path:
    """A module folder without a head of the configuration ``name`` under ``work``; made once, from seed 0."""
    from nlphub.checkpoints import native
    from nlphub.hub import zoo
    from nlphub.nn.initialise import initialise
    from nlphub.paths import bundle

    folder = work / f"encoder-{name}"
    if folder.is_dir():
        return folder
    parts, shape = zoo.load("ernie_tiny"), CONFIGURATIONS[name]
    numbers = {"layers": shape.layers, "width": shape.width, "heads": shape.heads, "inner": shape.inner, "vocab": shape.vocab}
    encoder, tokenizer = parts.transformer(**numbers), parts.tokenizer(bundle() / "tokenizers" / "zh_char")
    initialise(encoder, seed=0)
    work.mkdir(parents=True, exist_ok=True)
    with publish_folder(folder.absolute()) as temporary:
        native.save_checkpoint(temporary, encoder=encoder, head=None, tokenizer=tokenizer, config={"architecture": "ernie_tiny"})
    return folder


def classifier(name: str, work: Path, *, labels: int = LABELS, spread: float = 20.0) -> Any:
    """A `hub.Module` of the configuration with an untrained head.

    Args:
        spread: factor on the head's matrices. The default keeps answers far from uniform, so that labels can be compared; 1 is where
            trainings start.
    """
    import torch

    module = hub.Module(directory=encoder_folder(name, work), task="seq-cls", labels=labels_of(labels))
    with torch.no_grad():
        for parameter in module.task_head.parameters():
            parameter.mul_(spread if parameter.ndim > 1 else 1.0)
    module.trained = True
    return module


def artefact(name: str, work: Path) -> Path:
    """The exported folder of :func:`classifier`; made once."""
    folder = work / f"artefact-{name}"
    if not folder.is_dir():
        classifier(name, work).export(folder)
    return folder


def saved(name: str, work: Path) -> Path:
    """The saved folder of :func:`classifier`; made once."""
    folder = work / f"saved-{name}"
    if not folder.is_dir():
        classifier(name, work).save(folder)
    return folder
