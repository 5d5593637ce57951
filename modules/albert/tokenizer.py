"""The tokenizer of a converted ALBERT checkpoint: what its folder says."""

from nlphub.zoo.ernie.tokenizer import tokenizer

__all__ = ["tokenizer"]
