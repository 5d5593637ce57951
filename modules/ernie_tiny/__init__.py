"""ernie_tiny: nlphub's own small Chinese encoder, one token per character.

Six layers of 384, the standard ERNIE architecture; README.md is its card.
"""

from .heads import heads
from .tokenizer import tokenizer
from .transformer import transformer

__all__ = ["heads", "tokenizer", "transformer"]
