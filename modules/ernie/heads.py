"""The tasks that an ERNIE checkpoint can be fine-tuned for: those of nlphub's own module."""

from nlphub.zoo.ernie_tiny.heads import heads

__all__ = ["heads"]
