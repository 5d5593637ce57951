"""The encoder of ALBERT (Lan et al., 2020): narrow embeddings, and one layer gone through many times; each config.json has its numbers."""

from dataclasses import replace
from typing import Any

from nlphub.nn.encoder import Encoder, EncoderConfig

CONFIG = EncoderConfig(vocab=30000, layers=12, width=768, heads=12, inner=3072, eps=1e-12, embedding=128, shared=True)


def transformer(**changes: Any) -> Encoder:
    """Build the encoder; ``changes`` override CONFIG."""
    return Encoder(replace(CONFIG, **changes))
