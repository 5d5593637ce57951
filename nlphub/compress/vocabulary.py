"""The part of a vocabulary that texts need: which entries stay, the module with these alone, and how much of other texts is lost.

On the texts that decided, the module gives the same logits to the bit: their tokens keep their embeddings, and no other token is asked for.
Elsewhere a character without an entry is ``[UNK]``; :func:`coverage` says how often that happens.

Notation: ``t`` tokens of all texts.
"""

import copy
import importlib.util
import string
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from nlphub.compress.cutting import keep_entries, owned
from nlphub.errors import InputError, StoreError
from nlphub.module import Module
from nlphub.nn.heads import Head, MaskedLMHead
from nlphub.nn.prototype import PrototypeHead
from nlphub.text.encoding import Encoded, Ints
from nlphub.text.manifest import SPECIAL
from nlphub.text.tokenizers import Tokenizer

_BASIC = string.digits + string.ascii_letters + string.punctuation + "，。？！、；：“”‘’（）《》【】…—·￥"
_SLICE = 200  # characters of a slice of what stands behind the end of a text that is read
_FOLDS = 10  # of the texts, to estimate what is lost on texts like them


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a smaller vocabulary loses on texts that did not decide it.

    Attributes:
        characters: that are read and are no special entries.
        unknown: of those, how many are ``[UNK]``.
        before: how many were with the whole vocabulary.
    """

    characters: int
    unknown: int
    before: int

    @property
    def lost(self) -> float:
        """Share of the characters that became ``[UNK]``."""
        return (self.unknown - self.before) / max(1, self.characters)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {**asdict(self), "lost": round(self.lost, 6)}

    def __str__(self) -> str:
        return f"{self.unknown - self.before:,} of {self.characters:,} characters ({self.lost:.2%}) became [UNK]"


def needed_entries(module: Module, texts: Sequence[str], *, common: int = 0, basics: bool = True) -> Ints:
    """Ids of the entries that stay, ascending.

    Those of the special entries, of all tokens of the texts (also behind the end of those that are cut), of the n-grams and examples that
    a head of prototypes holds, and of what is always kept.

    Args:
        texts: of the domain.
        common: so many of the most frequent characters of Chinese (by the word counts of jieba's dictionary) are always kept.
        basics: whether digits, Latin letters and usual punctuation are always kept.
    """
    tokenizer = module.tokenizer
    pieces = [*([*_BASIC] if basics else []), *common_characters(common)]
    used = [_ids(tokenizer, [*texts, *_tails(tokenizer, texts), *pieces]), _held(module.head)]
    special = np.array([tokenizer.vocabulary.index(entry) for entry in SPECIAL.values()], np.int64)
    kept = np.unique(np.concatenate([special, *used, *_of_unknown(tokenizer, texts)]))
    return kept[kept < len(tokenizer)]


def restrict_vocabulary(module: Module, kept: Ints) -> Module:
    """A module of its own with these entries of the vocabulary; ``module`` stays as it is.

    Args:
        kept: ids, ascending, those of the special entries among them.

    Raises:
        InputError: ids that are not ascending, that the vocabulary does not have, or that lack what the head itself holds.
        WeightsError: no vocabulary for this kind of tokenizer is left.
    """
    if len(kept) == 0 or kept[0] < 0 or kept[-1] >= len(module.tokenizer) or (np.diff(kept) <= 0).any():
        raise InputError(f"the entries that stay are to be ascending ids of a vocabulary of {len(module.tokenizer):,} entries")
    if len(lost := np.setdiff1d(_held(module.head), kept)):
        raise InputError(f"the head holds {len(lost)} entries that would go: take those that needed_entries(module, texts) gives")
    tokenizer = module.tokenizer.restricted([module.tokenizer.vocabulary[number] for number in kept.tolist()])
    labels = tokenizer.vocabulary if module.head is not None and module.head.answers_words else module.labels
    head = _restricted_head(module.head, kept)
    return rebuilt(module, encoder=owned(keep_entries(module.encoder, kept)), tokenizer=tokenizer, head=head, labels=labels)


def rebuilt(module: Module, *, encoder: Any, tokenizer: Tokenizer, head: Head | None, labels: Sequence[str]) -> Module:
    """A module of other parts; name, origin, calibration and all else are those of ``module``."""
    made = copy.copy(module)
    made._modules = {}  # the parts of a network are kept there; a copy would share the table
    made.encoder, made.head = encoder, None
    made.tokenizer, made.labels = tokenizer, tuple(labels)
    facts = {"encoder": encoder.config.to_dict(), "tokenizer": {**module.config.get("tokenizer", {}), "digest": tokenizer.digest}}
    made.config = {key: value for key, value in module.config.items() if key != "initial_seed"} | facts
    if head is not None:
        head.attach(encoder)
        made.head = head
    made.train(module.training)
    return made


def coverage(module: Module, smaller: Module, texts: Sequence[str]) -> Coverage:
    """What ``smaller`` loses on texts, compared with ``module``."""
    whole, cut = _unknown(module.tokenizer, texts), _unknown(smaller.tokenizer, texts)
    return Coverage(cut[0], cut[1], whole[1])


def estimated_loss(module: Module, texts: Sequence[str], *, common: int = 0, basics: bool = True, seed: int = 0) -> float:
    """The share of characters that texts like these are expected to lose: each tenth judged by a vocabulary of the other nine.

    Args:
        texts: those that decide the vocabulary; fewer than two say nothing: the result is NaN.
    """
    texts = list(dict.fromkeys(texts))  # one text in two tenths would know itself
    if len(texts) < 2:
        return float("nan")
    fold = np.random.default_rng(seed).permutation(len(texts)) % min(_FOLDS, len(texts))
    encoded = module.tokenizer.encode(texts, max_length=module.max_length)
    always = {*needed_entries(module, [], common=common, basics=basics).tolist()}
    counts = [Counter[int]() for _ in range(fold.max() + 1)]
    for number, ids in enumerate(encoded.lists()):
        counts[fold[number]].update(ids)
    holders = Counter(entry for count in counts for entry in count)
    alone = [sum(times for entry, times in count.items() if holders[entry] == 1 and entry not in always) for count in counts]
    return sum(alone) / max(1, len(encoded.ids) - 2 * len(encoded))


def common_characters(count: int) -> list[str]:
    """The most frequent characters of Chinese, by the word counts of jieba's dictionary; the most frequent first.

    Raises:
        StoreError: jieba's dictionary is not there.
    """
    if not count:
        return []
    found = importlib.util.find_spec("jieba")
    path = Path(found.origin or "").with_name("dict.txt") if found else Path("jieba/dict.txt")
    if not path.is_file():
        raise StoreError(f"{path} is missing: install jieba again (pip install --force-reinstall jieba)")
    counts: Counter[str] = Counter()
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            word, times, *_ = line.split()
            for character in word:
                counts[character] += int(times)
    chinese = (character for character, _ in counts.most_common() if "一" <= character <= "鿿")
    return [character for character, _ in zip(chinese, range(count), strict=False)]


def _ids(tokenizer: Tokenizer, texts: Sequence[str]) -> Ints:
    return np.unique(tokenizer.encode(list(texts)).ids) if texts else np.zeros(0, np.int64)


def _tails(tokenizer: Tokenizer, texts: Sequence[str]) -> Iterator[str]:
    """What is not read of texts that are too long, in slices."""
    encoded = tokenizer.encode(list(texts))
    for number in np.flatnonzero(encoded.truncated).tolist():
        text = texts[number]
        yield from (text[first : first + _SLICE] for first in range(0, len(text), _SLICE))


def _of_unknown(tokenizer: Tokenizer, texts: Sequence[str]) -> Iterator[Ints]:
    """Entries inside the words that are unknown: without them a word that fell into no pieces might fall into some."""
    encoded, ids = tokenizer.encode(list(texts)), {entry: number for number, entry in enumerate(tokenizer.vocabulary)}
    words = {texts[row][start:end] for row, start, end in _places(encoded, tokenizer.unknown_id) if end - start > 1}
    for word in words:
        low = word.lower()
        parts = {low[a:b] for a in range(len(low)) for b in range(a + 1, len(low) + 1)}
        yield np.array([ids[name] for part in parts for name in (part, f"##{part}") if name in ids], np.int64)


def _places(encoded: Encoded, entry: int) -> Iterator[tuple[int, int, int]]:
    """Text, start and end of each token that is ``entry``, of single texts."""
    row = np.repeat(np.arange(len(encoded)), encoded.lengths)
    for token in np.flatnonzero(encoded.ids == entry).tolist():
        yield int(row[token]), int(encoded.offsets[token, 0]), int(encoded.offsets[token, 1])


def _unknown(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[int, int]:
    """Characters that tokens stand for, and how many of them ``[UNK]`` stands for."""
    encoded = tokenizer.encode(list(texts))
    sizes = encoded.offsets[:, 1] - encoded.offsets[:, 0]
    return int(sizes.sum()), int(sizes[encoded.ids == tokenizer.unknown_id].sum())


def _held(head: nn.Module | None) -> Ints:
    """Ids that a head itself holds."""
    if not isinstance(head, PrototypeHead):
        return np.zeros(0, np.int64)
    grams = head.grams.to(torch.int64)
    others = grams[:, 1:].flatten()
    return np.unique(torch.cat([grams[:, 0], others[others > 0] - 1, head.example_ids.to(torch.int64)]).numpy())


def _restricted_head(head: Head | None, kept: Ints) -> Head | None:
    """The head for the new ids, with tensors of its own."""
    if isinstance(head, MaskedLMHead):
        made = type(head)(head.width, len(kept), dropout=head.probability)
        state = {name: tensor.clone() for name, tensor in head.state_dict().items()}
        made.load_state_dict({**state, "bias": state["bias"][torch.from_numpy(kept)]})
        return made
    if head is not None and head.answers_words:
        raise InputError(f"{type(head).__name__} answers with words of the vocabulary, and how to cut it is not known here")
    made_same = copy.deepcopy(head)
    if isinstance(made_same, PrototypeHead):
        _renumber(made_same, kept)
    return made_same


@torch.no_grad()
def _renumber(head: PrototypeHead, kept: Ints) -> None:
    """Give n-grams and examples the new ids. These ascend as the old ones do, so n-grams stay in order."""
    new = torch.zeros(int(kept[-1]) + 1, dtype=torch.int64)
    new[torch.from_numpy(kept)] = torch.arange(len(kept))
    first, others = head.grams[:, 0].long(), head.grams[:, 1:].long()
    head.grams[:, 0] = new[first].float()
    head.grams[:, 1:] = torch.where(others > 0, new[(others - 1).clamp(min=0)] + 1, 0).float()
    head.example_ids.copy_(new[head.example_ids.long()].float())
