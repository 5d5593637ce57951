"""The encoder of ernie_tiny."""

from dataclasses import replace
from typing import Any

from nlphub.nn.encoder import Encoder, EncoderConfig

CONFIG = EncoderConfig(vocab=8192, layers=6, width=384, heads=6, inner=1536, positions=512)


def transformer(**changes: Any) -> Encoder:
    """Build the encoder; ``changes`` override CONFIG, e.g. ``layers=1, width=32, heads=2`` for a test."""
    return Encoder(replace(CONFIG, **changes))
