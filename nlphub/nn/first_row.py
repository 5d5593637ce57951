"""A layer that is asked for the first token alone, without keys and values of the others.

With one query for each sequence and head, ``q . (K x + c) = (K' q) . x + q . c`` and ``sum a (V x + e) = V (sum a x) + e``: the query is
taken to the width of the hidden states and compared with them, and what is mixed is hidden states. ``q . c`` is the same for all tokens,
so softmax does not see it. Projecting the keys and values of a sequence costs ``2 s d d``; this costs ``2 d d + 2 h s d``, so a last layer
is nearly free (measured: a sixth of the time of six layers). Exact but for rounding; tests compare it with the plain layer.

Notation: ``b`` sequences, ``s`` the longest of them, ``d`` width, ``h`` heads, ``k`` width of a head.
"""

import math

import torch
from torch import Tensor, nn

from nlphub.kernels import ACTIVATIONS
from nlphub.nn.encoder import Block


def first_row(block: Block, hidden: Tensor, visible: Tensor) -> Tensor:
    """What a layer makes of the first tokens, ``(b, 1, d)``.

    Args:
        hidden: ``(b, s, d)``, what goes into the layer.
        visible: ``(b, 1, 1, s)`` bool, False for padding.
    """
    first = hidden[:, :1]
    added: Tensor = block.norm1(first + block.out(_attended(block, first, hidden, visible)))
    output: Tensor = block.norm2(added + block.down(ACTIVATIONS[block.config.activation](block.up(added))))
    return output


def _attended(block: Block, first: Tensor, hidden: Tensor, visible: Tensor) -> Tensor:
    """``(b, 1, h k)``."""
    heads, size, mixed = block.config.heads, block.config.head_size, block.config.mixed
    weight, bias = block.qkv.weight, block.qkv.bias
    query = nn.functional.linear(first, weight[:mixed], bias[:mixed]) * (1.0 / math.sqrt(size))
    keys = weight[mixed : 2 * mixed].reshape(heads, size, -1)
    values = weight[2 * mixed :].reshape(heads, size, -1).transpose(1, 2)
    asked = (query.reshape(-1, heads, size).transpose(0, 1) @ keys).transpose(0, 1)  # (b, h, d)
    scores = asked @ hidden.transpose(1, 2)  # (b, h, s)
    weights = torch.where(visible.squeeze(1), scores, torch.finfo(scores.dtype).min).softmax(-1)
    found = ((weights @ hidden).transpose(0, 1) @ values).transpose(0, 1)  # (b, h, k)
    return found.flatten(1).unsqueeze(1) + bias[2 * mixed :]
