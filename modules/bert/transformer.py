"""The encoder of BERT, RoBERTa-wwm, MacBERT and LERT: the numbers of BERT base (Devlin et al., 2019), replaced by each config.json."""

from dataclasses import replace
from typing import Any

from nlphub.nn.encoder import Encoder, EncoderConfig

CONFIG = EncoderConfig(vocab=30522, layers=12, width=768, heads=12, inner=3072, eps=1e-12)


def transformer(**changes: Any) -> Encoder:
    """Build the encoder; ``changes`` override CONFIG."""
    return Encoder(replace(CONFIG, **changes))
