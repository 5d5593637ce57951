"""electra: the architecture of every ELECTRA checkpoint that was converted; README.md is its card."""

from .heads import heads
from .tokenizer import tokenizer
from .transformer import transformer

__all__ = ["heads", "tokenizer", "transformer"]
