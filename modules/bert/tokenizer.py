"""The tokenizer of a converted BERT checkpoint: what its folder says."""

from nlphub.zoo.ernie.tokenizer import tokenizer

__all__ = ["tokenizer"]
