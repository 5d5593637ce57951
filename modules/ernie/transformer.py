"""The encoder of ERNIE 1.0 to 3.0: the numbers of ernie-3.0-base-zh, which each checkpoint's config.json replaces by its own."""

from dataclasses import replace
from typing import Any

from nlphub.nn.encoder import Encoder, EncoderConfig

CONFIG = EncoderConfig(vocab=40000, layers=12, width=768, heads=12, inner=3072, positions=2048, types=4, task_types=3)


def transformer(**changes: Any) -> Encoder:
    """Build the encoder; ``changes`` override CONFIG."""
    return Encoder(replace(CONFIG, **changes))
