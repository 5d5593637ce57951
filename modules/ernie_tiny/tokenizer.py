"""The tokenizer of ernie_tiny: tokenizers/zh_char, one token per character."""

from pathlib import Path

from nlphub.text.characters import CharacterTokenizer


def tokenizer(folder: Path) -> CharacterTokenizer:
    """The tokenizer whose files lie in ``folder`` (a module folder, a run, or tokenizers/zh_char itself)."""
    return CharacterTokenizer.load(folder)
