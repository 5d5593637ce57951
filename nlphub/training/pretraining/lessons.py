"""What one step of pretraining learns from: masked words, and, if the recipe wants them, pairs of passages and two views of a passage.

- *masked words* of every sequence, as in BERT-wwm and ERNIE 1.0 (:mod:`nlphub.text.masking`).
- *pairs*: two passages in one sequence, and [CLS] has to say whether the second says the same as the first. Where it does not, some word
  of the first was exchanged, or it comes from somewhere else. Words are masked too, so that looking them up in the other passage pays.
  The answer is an entry of the vocabulary (是 or 否) at [CLS], so the masked-LM head learns it and nothing is left over afterwards. BERT's
  next-sentence and ALBERT's order prediction have a classifier of their own; telling exchanged words apart by comparing is the
  point of PAWS (Zhang et al., 2019, arXiv:1904.01130).
- *views*: mean-pooled vectors of two versions of a passage, or of neighbours, have to find each other among all passages of the step: loss
  of SimCSE (Gao et al., 2021, arXiv:2104.08821) over the pairs of DeCLUTR (Giorgi et al., 2021, arXiv:2006.03659).

Notation: ``t`` tokens, ``b`` sequences, ``n`` passages with two views.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nlphub.data.batching import token_rows
from nlphub.errors import InputError
from nlphub.recipe.pretraining import PretrainSettings
from nlphub.text.encoding import Encoded, Ints
from nlphub.text.masking import IGNORED, Flags, join_words
from nlphub.text.tokenizers import Tokenizer
from nlphub.training.pretraining.passages import Passage, breaks, long_words, passages, replaced, reworded, sequences
from nlphub.training.pretraining.sampling import Batch

_ANSWERS = ("否", "是")
_SAME, _EXCHANGED = 0.5, 0.3  # shares of the pairs that say the same, and of those in which a word was exchanged; the rest are strangers
_NEIGHBOURS = 0.5  # share of the views that come from the next passage of the text


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """The material of one step.

    Attributes:
        encoded: ``b`` sequences, words masked, sorted by length.
        targets: ``(t,)`` the id to predict, or -100.
        decisions: ``(t,)`` True at the [CLS] of a pair: its target is the answer whether both passages say the same.
        views: ``2n`` sequences, ``i`` and ``n + i`` from the same place; ``None`` without any.
    """

    encoded: Encoded
    targets: Ints
    decisions: Flags
    views: Encoded | None

    @property
    def tokens(self) -> int:
        """All that is read, special tokens included."""
        return len(self.encoded.ids) + (len(self.views.ids) if self.views is not None else 0)

    @property
    def pairs(self) -> int:
        """Decisions that are asked for."""
        return int(self.decisions.sum())

    @property
    def words(self) -> int:
        """Masked tokens that are asked for."""
        return int((self.targets != IGNORED).sum()) - self.pairs


class Lessons:
    """Makes lessons of a sampler's batches; (seed, step) decides everything that is drawn.

    Raises:
        InputError: the recipe wants pairs, and the vocabulary has no entry for their answers.
    """

    def __init__(self, tokenizer: Tokenizer, settings: PretrainSettings) -> None:
        self.tokenizer, self.settings = tokenizer, settings
        self._ends = breaks(tokenizer)
        self._answers = _answers(tokenizer) if settings.pairs else np.zeros(2, np.int64)

    def of(self, batch: Batch, *, step: int, rate: float) -> Lesson:
        """The lesson of step number ``step``, with the share ``rate`` of its words masked."""
        generator = np.random.default_rng([self.settings.seed, step, 2])
        views, pairs, plain = self._split(len(batch.encoded), generator)
        viewed = self._views(passages(batch, views, self._ends, generator=generator), generator)
        paired, same = self._pairs(passages(batch, pairs, self._ends, generator=generator), generator)
        whole, answers = batch, np.full(len(batch.encoded), IGNORED, np.int64)
        if len(plain) < len(batch.encoded):
            answers = np.concatenate([answers[plain], self._answers[np.array(same, np.int64)]])
            whole, answers = _merged(_chosen(batch, plain), paired, answers)
        masked, targets = self._mask(whole, step, rate)
        rows = masked.starts[:-1][answers != IGNORED]
        decisions = np.zeros(len(targets), np.bool_)
        decisions[rows] = True
        targets[rows] = answers[answers != IGNORED]
        return Lesson(masked, targets, decisions, viewed)

    def _split(self, count: int, generator: np.random.Generator) -> tuple[list[int], list[int], Ints]:
        """Which sequences become views, which pairs, and, in their order, which stay as they are."""
        order = generator.permutation(count)
        views, pairs = round(self.settings.views * count), round(self.settings.pairs * count)
        return order[:views].tolist(), order[views : views + pairs].tolist(), np.sort(order[views + pairs :])

    def _views(self, found: list[list[Passage]], generator: np.random.Generator) -> Encoded | None:
        """One passage of each sequence, and its like."""
        first: list[tuple[Passage, ...]] = []
        second: list[tuple[Passage, ...]] = []
        for parts in filter(None, found):
            place = int(generator.integers(len(parts)))
            near = place + 1 if place + 1 < len(parts) and generator.random() < _NEIGHBOURS else place
            first.append((reworded(parts[place], self._ends, generator=generator),))
            second.append((reworded(parts[near], self._ends, generator=generator),))
        return sequences([*first, *second], self.tokenizer).encoded if len(first) > 1 else None

    def _pairs(self, found: list[list[Passage]], generator: np.random.Generator) -> tuple[Batch, list[bool]]:
        """All passages as pairs, and which say the same."""
        everything, words = [part for parts in found for part in parts], long_words(found)
        texts: list[tuple[Passage, ...]] = []
        same: list[bool] = []
        for parts in found:
            for place, passage in enumerate(parts):
                # half of the first passages have strange words themselves: strangeness alone must not give the answer away
                base = replaced(passage, words, generator=generator) if words and generator.random() < 0.5 else passage
                lot, other = generator.random(), base
                if lot >= _SAME + _EXCHANGED or not words:
                    other = parts[place + 1] if place + 1 < len(parts) else everything[int(generator.integers(len(everything)))]
                elif lot >= _SAME:
                    other = replaced(base, words, generator=generator)
                texts.append((reworded(base, self._ends, generator=generator), reworded(other, self._ends, generator=generator)))
                same.append(other == base)
        return sequences(texts, self.tokenizer), same

    def _mask(self, batch: Batch, step: int, rate: float) -> tuple[Encoded, Ints]:
        generator = np.random.default_rng([self.settings.seed, step, 1])
        units = join_words(batch.word_starts, generator=generator, share=self.settings.phrases)
        masked = self.tokenizer.mask(batch.encoded, units, generator=generator, rate=rate)
        return replace(batch.encoded, ids=masked.ids), masked.targets


def _answers(tokenizer: Tokenizer) -> Ints:
    """The ids of 否 and 是."""
    encoded = tokenizer.encode(_ANSWERS)
    if encoded.lengths.tolist() != [3, 3] or tokenizer.unknown_id in encoded.ids:
        raise InputError(f"train.pairs needs {' and '.join(_ANSWERS)} in the vocabulary, and this module's has not both; use train.pairs=0")
    return encoded.ids[[1, 4]]


def _chosen(batch: Batch, rows: Ints) -> Batch:
    tokens = token_rows(batch.encoded, rows)
    edges = np.concatenate([[0], np.cumsum(batch.encoded.lengths[rows])])
    old = batch.encoded
    encoded = Encoded(old.ids[tokens], old.types[tokens], old.offsets[tokens], edges, old.truncated[rows])
    return Batch(encoded, batch.word_starts[tokens])


def _merged(first: Batch, second: Batch, answers: Ints) -> tuple[Batch, Ints]:
    """Both batches as one, sorted by length; ``answers``, one for each sequence, in the new order."""
    one, two = first.encoded, second.encoded
    together = Encoded(
        ids=np.concatenate([one.ids, two.ids]),
        types=np.concatenate([one.types, two.types]),
        offsets=np.concatenate([one.offsets, two.offsets]),
        starts=np.concatenate([one.starts, two.starts[1:] + one.starts[-1]]),
        truncated=np.concatenate([one.truncated, two.truncated]),
    )
    order: NDArray[np.int64] = np.argsort(together.lengths, kind="stable")
    return _chosen(Batch(together, np.concatenate([first.word_starts, second.word_starts])), order), answers[order]
