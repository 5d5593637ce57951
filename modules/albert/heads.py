"""The tasks that an ALBERT checkpoint can be fine-tuned for: those of nlphub's own module."""

from nlphub.zoo.ernie_tiny.heads import heads

__all__ = ["heads"]
