"""A small classifier over the real tokenizer."""

from pathlib import Path
from typing import Any

import pytest
import torch

from nlphub.nn.encoder import Encoder, EncoderConfig
from nlphub.nn.heads import SequenceHead
from nlphub.nn.initialise import initialise
from nlphub.text.tokenizers import load_tokenizer

LABELS = ("查物流", "退货", "转人工", 'say "hi"')


@pytest.fixture(scope="session")
def parts() -> dict[str, Any]:
    """What export_artefact takes, with weights that make attention and logits far from uniform."""
    tokenizer = load_tokenizer(Path(__file__).parents[2] / "tokenizers" / "zh_char")
    encoder = Encoder(EncoderConfig(vocab=len(tokenizer), layers=2, width=24, heads=3, inner=40, task_types=2, task_id=1))
    head = SequenceHead(24, len(LABELS))
    for seed, part in enumerate((encoder, head)):
        initialise(part, seed)
        with torch.no_grad():
            for parameter in part.parameters():
                parameter.mul_(8.0 if parameter.ndim > 1 else 1.0).add_(0.05 if parameter.ndim == 1 else 0.0)
    return {"encoder": encoder, "head": head, "tokenizer": tokenizer, "labels": LABELS, "card": {"architecture": "ernie_tiny"}}
