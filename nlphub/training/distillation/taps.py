"""What an encoder says inside while it runs: hidden states of chosen layers, and queries, keys and values of one.

Notation: ``t`` tokens, ``b`` sequences, ``d`` width.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from nlphub.errors import InputError
from nlphub.nn.encoder import Block, Encoder


@dataclass(slots=True, eq=False)
class Seen:
    """What a pass showed.

    Attributes:
        hidden: by layer, 0 for what goes into the first: ``(t, d)``, or ``(b, d)`` of a last layer that answers for [CLS] alone.
        attention: queries, keys and values of the layer that was asked for, ``(t, mixed)`` each.
    """

    hidden: dict[int, Tensor] = field(default_factory=dict)
    attention: tuple[Tensor, ...] = ()


@contextmanager
def watched(encoder: Encoder, *, layers: Iterable[int] = (), attention: int | None = None) -> Iterator[Seen]:
    """Watch the next pass.

    Args:
        layers: whose hidden states are wanted, counted from 1; 0 is what goes into the first layer.
        attention: the layer whose queries, keys and values are wanted, counted from 1. They are computed a second time.

    Raises:
        InputError: all layers share their weights, so none of them can be watched alone.
    """
    if encoder.config.shared:
        raise InputError("all layers of this module share their weights: leave hidden states and relations out of the distillation")
    seen, wanted = Seen(), {*layers}
    blocks = [block for block in encoder.blocks if isinstance(block, Block)]

    def enters(number: int) -> Any:
        def note(block: Block, inputs: tuple[Any, ...]) -> None:
            if number == 0 and 0 in wanted:
                seen.hidden[0] = inputs[0]
            if number + 1 == attention:
                seen.attention = F.linear(inputs[0], block.qkv.weight, block.qkv.bias).chunk(3, dim=1)

        return note

    def leaves(number: int) -> Any:
        def note(block: Block, inputs: tuple[Any, ...], output: Tensor) -> None:
            if number + 1 in wanted:
                seen.hidden[number + 1] = output

        return note

    handles = [block.register_forward_pre_hook(enters(number)) for number, block in enumerate(blocks)]
    handles += [block.register_forward_hook(leaves(number)) for number, block in enumerate(blocks)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
