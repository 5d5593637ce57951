"""The tokenizer of a converted ERNIE checkpoint: what its folder says."""

from pathlib import Path

from nlphub.text.tokenizers import Tokenizer, load_tokenizer


def tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer whose files lie in ``folder``."""
    return load_tokenizer(folder)
