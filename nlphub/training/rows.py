"""The examples of a training as its loop needs them, in as few bytes as that takes.

What a tokenizer gives has 32 bytes a token: int64 ids, types and places in the text. A loop reads ids, and types of pairs; places serve to
make targets of spans, and are gone then. So the examples are tokenised in pieces of :data:`PIECE` characters, and of each piece is kept:

===========  ========================  ====================================================
ids          uint16, or int32          of vocabularies of more than 65,536 entries
types        uint8 of pairs            of single texts they are all 0, and take no byte at all
starts       int64, one a text         where each text begins
lengths      int32, one a text
targets      int8, int16, ... a row    see :func:`nlphub.tasks.targets.joined`; other than whole numbers as they are
===========  ========================  ====================================================

That is 61 bytes for a text of 24 tokens that has one label. Arrays (but targets) of more than :data:`nlphub.data.growing.MOST` bytes lie
in a file without a name, and only the parts that were read last are in memory. Batches are int64, and equal to those of the wide form.

Notation: ``b`` texts (or pairs), ``t`` tokens of all of them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlphub.data.examples import Examples
from nlphub.data.growing import Growing
from nlphub.module import Module
from nlphub.tasks.base import Targets, Trainable
from nlphub.tasks.targets import joined, narrow
from nlphub.text.encoding import Ints

PIECE = 1 << 16  # characters that are tokenised together


@dataclass(frozen=True, slots=True, eq=False)
class TrainingRows:
    """Tokenised training examples, as :func:`nlphub.data.batching.pack` takes them.

    Attributes:
        ids: ``(t,)`` uint16 or int32.
        types: ``(t,)`` uint8.
        starts: ``(b + 1,)`` int64: sequence ``i`` is ``ids[starts[i]:starts[i + 1]]``.
        lengths: ``(b,)`` int32 tokens of each sequence.
        words: ascending int64, the entries of the vocabulary that occur.
        cut: how many texts were too long.
        targets: of the task, see :func:`nlphub.tasks.targets.targets_of`.
    """

    ids: NDArray[Any]
    types: NDArray[Any]
    starts: Ints
    lengths: NDArray[Any]
    words: Ints
    cut: int
    targets: Targets

    def __len__(self) -> int:
        return len(self.lengths)


def read_rows(module: Module, task: Trainable, train: Examples) -> TrainingRows:
    """Tokenise the examples of a training, and say what the module should answer.

    Raises:
        InputError, DataError: as :meth:`nlphub.Module.tokenize` and the task's ``targets``.
        StoreError: they are too many for memory, and the disk of temporary files is full.
    """
    entries: int = module.encoder.embeddings.word.num_embeddings
    ids, types = Growing(np.uint16 if entries <= 1 << 16 else np.int32), Growing(np.uint8)
    starts, lengths, targets = Growing(np.int64), Growing(np.int32), list[Targets]()
    read, cut, paired = np.zeros(entries, np.bool_), 0, train.paired
    starts.add(np.zeros(1, np.int64))
    for piece in train.pieces(PIECE):
        encoded = module.tokenize(piece.texts, [example.pair or "" for example in piece] if paired else None)
        targets.append(narrow(task.targets(piece, encoded, module.labels)))
        starts.add(encoded.starts[1:] + len(ids))
        lengths.add(encoded.lengths)
        ids.add(encoded.ids)
        if paired:
            types.add(encoded.types)
        read[encoded.ids] = True
        cut += int(encoded.truncated.sum())
    first = types.array() if paired else np.broadcast_to(np.uint8(0), len(ids))
    return TrainingRows(ids.array(), first, starts.array(), lengths.array(), np.flatnonzero(read), cut, joined(targets))
