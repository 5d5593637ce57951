"""Graphs of a module that reads the two texts of a pair each by itself: one from a text to its vector, one from two vectors to logits.

Two graphs and not one over both texts: then a text that stands in many pairs (a question against a thousand entries) is read once, and
its vector is kept, in the artefact as in the module. One graph would read it a thousand times.

Notation: ``b`` texts or pairs, ``s`` tokens of the longest text, ``d`` width.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nlphub.data.apart import take, texts_of
from nlphub.data.batching import Packed, pack, pad
from nlphub.kernels import Noise
from nlphub.nn.dense import DenseModel
from nlphub.nn.encoder import to_tensors
from nlphub.nn.heads import Head
from nlphub.nn.matching import BiEncoderHead
from nlphub.runtime import artefact
from nlphub.runtime.session import open_session
from nlphub.text.encoding import Encoded
from nlphub.text.tokenizers import Tokenizer


class MeanHead(Head):
    """The mean of a text's hidden rows; it has no weights."""

    rows = "all"
    per_text = True

    def forward(self, hidden: Tensor, packed: Packed[Tensor] | None = None, *, noise: Noise | None = None) -> Tensor:
        """``(b, d)`` of a packed batch."""
        if packed is None:
            raise TypeError("means need the packed batch too: head(hidden, packed)")
        return torch.segment_reduce(hidden, "mean", lengths=packed.lengths)

    def dense(self, hidden: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """``(b, d)`` of padded hidden rows ``(b, s, d)``."""
        seen = attention_mask[..., None].to(hidden.dtype)
        return (hidden * seen).sum(1) / seen.sum(1)


class Compare(nn.Module):
    """What a bi-encoder's head makes of two vectors."""

    def __init__(self, head: BiEncoderHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """``(b, labels)`` logits of ``(b, d)`` and ``(b, d)``."""
        return self.head.compare(first, second)


def text_model(model: DenseModel) -> DenseModel:
    """The part of a module that reads a text."""
    return DenseModel(model.encoder, MeanHead(model.head.width, model.head.width)).eval()


def compare_inputs(width: int) -> tuple[tuple[Tensor, Tensor], list[dict[int, Any]]]:
    """What :class:`Compare` is exported with: two vectors of a dynamic number of pairs."""
    return (torch.ones(2, width), torch.ones(2, width)), [{0: torch.export.Dim("batch")}, {0: torch.export.Dim.DYNAMIC}]


def as_pairs(encoded: Encoded) -> Encoded:
    """Pairs, as :func:`nlphub.data.apart.encode_apart` gives them, of each text with the next one, and of the last with the first."""
    order = np.stack([np.arange(len(encoded)), np.roll(np.arange(len(encoded)), -1)], axis=1).ravel()
    texts = take(encoded, order)
    types = np.repeat(np.arange(len(order), dtype=np.int64) % 2, texts.lengths)
    return Encoded(texts.ids, types, texts.offsets, texts.starts[::2], texts.truncated[::2])


def sessions(folder: Path) -> tuple[Any, Any]:
    """The two graphs, open: that of a text, that of two vectors."""
    threads = torch.get_num_threads()
    return open_session(folder / artefact.GRAPH, threads=threads), open_session(folder / artefact.COMPARE_GRAPH, threads=threads)


def both_sides(model: DenseModel, graphs: tuple[Any, Any], encoded: Encoded, tokenizer: Tokenizer) -> tuple[Any, Any]:
    """Logits of pairs (as :func:`nlphub.data.apart.encode_apart` gives them) from the module on packed rows, and from the two graphs."""
    (text, compare), rows, texts = graphs, np.arange(len(encoded)), texts_of(encoded)
    with torch.inference_mode():
        packed = to_tensors(model.head.arrange(pack(encoded, rows)))
        expected = model.head(model.encoder(packed), packed).numpy()
    padded = pad(texts, np.arange(len(texts)), pad_id=tokenizer.pad_id)
    (vectors,) = text.run([artefact.VECTOR], dict(zip(artefact.INPUTS, padded, strict=True)))
    sides = dict(zip(artefact.VECTORS, (vectors[0::2], vectors[1::2]), strict=True))
    (found,) = compare.run([artefact.OUTPUT], sides)
    return expected, found
