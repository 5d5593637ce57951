"""The padded twin of the packed encoder, on the same weights: for the graph that is exported, and as the slow obvious check in tests.

Notation: ``b`` sequences, ``s`` the longest of them, ``d`` width, ``h`` heads.
"""

import math

import torch
from torch import Tensor, nn

from nlphub.kernels import ACTIVATIONS
from nlphub.nn.encoder import Block, Encoder, Rows
from nlphub.nn.first_row import first_row
from nlphub.nn.heads import Head


def dense_encode(encoder: Encoder, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor, *, rows: Rows = "all") -> Tensor:
    """Hidden states ``(b, s, d)``, or ``(b, d)`` of the first tokens for ``rows="cls"``. No dropout.

    Args:
        input_ids: ``(b, s)`` int64, padded with any id of the vocabulary.
        attention_mask: ``(b, s)`` int64, 1 for tokens and 0 for padding.
        token_type_ids: ``(b, s)`` int64.
    """
    positions = torch.arange(input_ids.shape[1], device=input_ids.device)[None, :]
    embeddings = encoder.embeddings
    hidden: Tensor = embeddings.widen(embeddings.norm(embeddings.add(input_ids, positions, token_type_ids)))
    visible = attention_mask[:, None, None, :] != 0
    *blocks, last = encoder.passes
    for block in blocks:
        hidden = _block(block, hidden, visible)
    return first_row(last, hidden, visible).squeeze(1) if rows == "cls" else _block(last, hidden, visible)


class DenseModel(nn.Module):
    """Encoder and head from padded inputs to logits, ``(b, labels)`` or ``(b, s, labels)``, or to several such (``Head.outputs``)."""

    def __init__(self, encoder: Encoder, head: Head) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor | tuple[Tensor, ...]:
        """See :func:`dense_encode`."""
        hidden = dense_encode(self.encoder, input_ids, attention_mask, token_type_ids, rows=self.head.rows)
        return self.head.dense(hidden, input_ids, attention_mask)


def _block(block: Block, hidden: Tensor, visible: Tensor) -> Tensor:
    """One layer on ``(b, s, d)``."""
    width, heads = block.config.mixed, block.config.heads
    weight, bias = block.qkv.weight, block.qkv.bias
    q = _split(nn.functional.linear(hidden, weight[:width], bias[:width]), heads)
    k, v = (_split(part, heads) for part in nn.functional.linear(hidden, weight[width:], bias[width:]).chunk(2, dim=-1))
    scores = (q @ k.transpose(2, 3)) * (1.0 / math.sqrt(block.config.head_size))
    weights = torch.where(visible, scores, torch.finfo(scores.dtype).min).softmax(-1)
    mixed = (weights @ v).transpose(1, 2).flatten(2)
    added: Tensor = block.norm1(hidden + block.out(mixed))
    output: Tensor = block.norm2(added + block.down(ACTIVATIONS[block.config.activation](block.up(added))))
    return output


def _split(x: Tensor, heads: int) -> Tensor:
    """``(b, s, d)`` to ``(b, h, s, d / h)``."""
    return x.reshape(x.shape[0], x.shape[1], heads, x.shape[2] // heads).transpose(1, 2)
