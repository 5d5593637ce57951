"""What every conversion goes through: a checkpoint under Hugging Face's names, without prefix, and the fate of each key it came from.

Names and layouts of an encoder and its heads are translated by :mod:`nlphub.checkpoints.huggingface`; here is what lies around that: which
keys are no weights of ours and why, and from which key of the source each tensor comes. A key that nobody can explain is an error.

Notation: ``d`` width.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nlphub.checkpoints.huggingface import from_huggingface
from nlphub.checkpoints.relatives import name_in
from nlphub.errors import WeightsError
from nlphub.nn.config import EncoderConfig
from nlphub.text.tokenizers import Tokenizer

POOLER = ("pooler.dense.weight", "pooler.dense.bias")
WORDS = "embeddings.word_embeddings.weight"
TIED = {"cls.predictions.decoder.weight": WORDS, "cls.predictions.decoder.bias": "cls.predictions.bias"}
BUFFER = re.compile(r"(^|\.)(position_ids|token_type_ids)$")

_REPLACED = re.compile(r"^discriminator_predictions\.(dense|dense_prediction)\.(weight|bias)$")  # of ELECTRA
_NEXT_SENTENCE = re.compile(r"^cls\.seq_relationship\.(weight|bias)$")
_OLD_NORM = {"gamma": "weight", "beta": "bias"}  # of TensorFlow, and of files that were made from its checkpoints


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one key of a source.

    Attributes:
        source: the key.
        target: nlphub's name of the tensor that it went into; ``None`` where it went into none.
        what: how, or why not.
    """

    source: str
    target: str | None
    what: str


@dataclass(slots=True, eq=False)
class Checkpoint:
    """A checkpoint of any format.

    Attributes:
        config: the numbers of the encoder.
        family: ``bert``, ``ernie``, ``albert`` or ``electra``.
        tensors: float32 under Hugging Face's names without prefix.
        task: of its head; ``None`` for a bare encoder, with or without a masked-language head.
        labels: names of the head's outputs, in the order of the logits.
        tokenizer: the one of these weights, where its files were there.
        fates: of all keys of the source.
        notes: what a reader of the report should know besides.
    """

    config: EncoderConfig
    family: str
    tensors: dict[str, Tensor]
    task: str | None = None
    labels: tuple[str, ...] = ()
    tokenizer: Tokenizer | None = None
    fates: tuple[Fate, ...] = ()
    notes: list[str] = field(default_factory=list)

    @property
    def fills_masks(self) -> bool:
        """Whether a masked-language head is there."""
        return "cls.predictions.bias" in self.tensors


@dataclass(frozen=True, slots=True, eq=False)
class Named:
    """A tensor on its way: the source's key for it, the tensor, and what was done to it so far."""

    source: str
    tensor: Tensor
    what: str = "copied"


def bare(name: str, family: str = "bert") -> str:
    """A name of Hugging Face's without prefix, as BERT has it, and with today's words for the parts of a norm."""
    head, _, last = name_in(re.sub(r"^(bert|ernie)\.", "", name), family).rpartition(".")
    return f"{head}.{_OLD_NORM.get(last, last)}"


def settle(found: Mapping[str, Named], *, place: str, task: str | None = None) -> tuple[dict[str, Tensor], tuple[Fate, ...]]:
    """The weights of a checkpoint, and the fate of every key.

    Args:
        found: by Hugging Face's name without prefix.
        place: of the source, for messages.
        task: of its head.

    Raises:
        WeightsError: a key has no place in an ERNIE or BERT encoder with a known head, a decoder is not the embedding that it is tied to,
            or values are not finite.
    """
    left, fates = {}, []
    for name, one in found.items():
        why = _not_a_weight(name, one.tensor, found, task)
        if why is None:
            left[name] = one
        else:
            fates.append(Fate(one.source, None, why))
    if wild := [one.source for one in left.values() if not bool(one.tensor.isfinite().all())]:
        raise WeightsError(f"{place} holds values that are not finite in {', '.join(wild[:8])}. Train or fetch these weights again.")
    targets = _targets(left, place)
    fates += [Fate(one.source, targets[name], one.what) for name, one in left.items()]
    return {name: one.tensor for name, one in left.items()}, tuple(sorted(fates, key=lambda fate: fate.source))


def ours(tensors: Mapping[str, Tensor], *, task: str | None) -> dict[str, Tensor]:
    """Our names (``encoder.*``, ``heads.<task>.*``) for weights under Hugging Face's."""
    found = from_huggingface(tensors)
    if task in (None, "seq-cls", "token-cls"):
        return found
    return {name.replace("heads.seq-cls.", f"heads.{task}."): tensor for name, tensor in found.items()}


def _not_a_weight(name: str, tensor: Tensor, found: Mapping[str, Named], task: str | None) -> str | None:
    """Why a key is left out, ``None`` for a weight."""
    if BUFFER.search(name):
        return "left out: a buffer that counts positions"
    if _NEXT_SENTENCE.search(name):
        return "left out: the head for next sentences, which only pretraining uses"
    if _REPLACED.search(name):
        return "left out: the head for replaced tokens, which only pretraining uses"
    if name in POOLER and task == "token-cls":
        return "left out: a head for tokens does not use the pooler"
    twin = found.get(TIED.get(name, ""))
    if twin is None:
        return None
    if not torch.equal(twin.tensor, tensor):
        raise WeightsError(f"{found[name].source} is not tied to {twin.source}: nlphub has no decoder of its own for masked words")
    return f"left out: equal to {twin.source}, to which it is tied"


def _targets(left: Mapping[str, Named], place: str) -> dict[str, str]:
    """Our name for each of Hugging Face's, found by sending numbers through the conversion instead of weights."""
    names = list(left)
    marks = {name: torch.tensor([number]) for number, name in enumerate(names)}
    try:
        pools = {name: marks.pop(name) for name in POOLER if name in marks and "classifier.weight" not in marks}
        named = from_huggingface(marks)
    except WeightsError as unknown:
        raise WeightsError(f"{place}: {unknown}{_spelt(names, left)}") from unknown
    named |= {f"heads.seq-cls.pool.{name.rpartition('.')[2]}": mark for name, mark in pools.items()}
    return {names[number]: own for own, mark in named.items() for number in mark.tolist()}


def _spelt(names: Iterable[str], left: Mapping[str, Named]) -> str:
    """How the source calls the first few keys, when it calls them otherwise."""
    changed = [left[name].source for name in names if left[name].source != name]
    return f" (of keys such as {', '.join(changed[:2])})" if changed else ""
