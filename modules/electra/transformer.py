"""The encoder of ELECTRA (Clark et al., 2020): BERT's layers over narrower embeddings; each config.json has its numbers."""

from dataclasses import replace
from typing import Any

from nlphub.nn.encoder import Encoder, EncoderConfig

CONFIG = EncoderConfig(vocab=30522, layers=12, width=256, heads=4, inner=1024, eps=1e-12, embedding=128)


def transformer(**changes: Any) -> Encoder:
    """Build the encoder; ``changes`` override CONFIG."""
    return Encoder(replace(CONFIG, **changes))
