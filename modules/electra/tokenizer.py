"""The tokenizer of a converted ELECTRA checkpoint: what its folder says."""

from nlphub.zoo.ernie.tokenizer import tokenizer

__all__ = ["tokenizer"]
