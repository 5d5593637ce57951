"""Parts of an encoder: the same network with fewer layers, heads, inner units or entries of the vocabulary. Nothing is learnt here.

Tensors that stay whole are shared with the encoder that they come from, so that a trial costs nothing; :func:`owned` copies them.

Notation: ``k`` width of a head.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from nlphub.nn.config import EncoderConfig
from nlphub.nn.encoder import Encoder
from nlphub.text.encoding import Ints

Weights = dict[str, Tensor]

_LAYER = re.compile(r"blocks\.(\d+)\.(.+)")


def keep_layers(encoder: Encoder, kept: Sequence[int]) -> Encoder:
    """With these layers only, in this order."""
    place = {str(layer): number for number, layer in enumerate(kept)}
    found = {name: _LAYER.fullmatch(name) for name in encoder.state_dict()}
    names = {
        name: f"blocks.{place[match[1]]}.{match[2]}" if match else name for name, match in found.items() if not match or match[1] in place
    }
    state = encoder.state_dict()
    return _made(encoder, replace(encoder.config, layers=len(kept)), {own: state[name] for name, own in names.items()})


def keep_heads(encoder: Encoder, kept: Sequence[Sequence[int]]) -> Encoder:
    """With these heads of each layer; the width of a head stays what it was.

    Args:
        kept: for each layer, equally many numbers of heads.
    """
    config = encoder.config
    small = replace(config, heads=len(kept[0]), head_width=config.head_size)
    if small.mixed == config.width:
        small = replace(small, head_width=0)

    def cut(layer: int, state: Weights, start: str) -> None:
        columns = (torch.tensor(kept[layer])[:, None] * config.head_size + torch.arange(config.head_size)).flatten()
        rows = torch.cat([columns + part * config.mixed for part in range(3)])  # of queries, keys and values
        for kind in ("weight", "bias"):
            state[f"{start}.qkv.{kind}"] = state[f"{start}.qkv.{kind}"][rows]
        state[f"{start}.out.weight"] = state[f"{start}.out.weight"][:, columns]

    return _made(encoder, small, _each_layer(encoder, cut))


def keep_inner(encoder: Encoder, kept: Sequence[Sequence[int]]) -> Encoder:
    """With these units of each feed-forward layer.

    Args:
        kept: for each layer, equally many numbers of units.
    """

    def cut(layer: int, state: Weights, start: str) -> None:
        units = torch.tensor(kept[layer])
        for kind in ("weight", "bias"):
            state[f"{start}.up.{kind}"] = state[f"{start}.up.{kind}"][units]
        state[f"{start}.down.weight"] = state[f"{start}.down.weight"][:, units]

    return _made(encoder, replace(encoder.config, inner=len(kept[0])), _each_layer(encoder, cut))


def keep_entries(encoder: Encoder, kept: Ints) -> Encoder:
    """With the embeddings of these entries of the vocabulary, which get the ids 0, 1, 2, ... in this order."""
    state = encoder.state_dict()
    state["embeddings.word.weight"] = state["embeddings.word.weight"][torch.from_numpy(kept)]
    return _made(encoder, replace(encoder.config, vocab=len(kept)), state)


def owned(encoder: Encoder) -> Encoder:
    """The same with tensors of its own, which may be trained."""
    return _made(encoder, encoder.config, {name: tensor.clone() for name, tensor in encoder.state_dict().items()})


def spread_layers(layers: int, count: int) -> tuple[int, ...]:
    """``count`` of ``layers`` numbers at equal distances, the first and the last among them; the last alone of one."""
    return tuple(round(number * (layers - 1) / (count - 1)) for number in range(count)) if count > 1 else (layers - 1,)


def _each_layer(encoder: Encoder, cut: Callable[[int, Weights, str], None]) -> Weights:
    state = dict(encoder.state_dict())
    for layer in range(encoder.config.layers):
        cut(layer, state, f"blocks.{layer}")
    return state


def _made(like: Encoder, config: EncoderConfig, state: Weights) -> Encoder:
    with torch.device("meta"):
        encoder = Encoder(config)
    encoder.load_state_dict({name: tensor.detach() for name, tensor in state.items()}, assign=True)
    return encoder.train(like.training)
