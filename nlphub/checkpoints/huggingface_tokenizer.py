"""A tokenizer in Hugging Face's files, so that ``AutoTokenizer`` gives our ids.

``tokenizer.json`` (of the library `tokenizers`) holds WordPiece as it is, and a character tokenizer as: a normaliser that drops what our
table drops, a split into characters, and a word-level model whose vocabulary lists every character that our table folds, at the id of what
it becomes. Which of these an id is called there is left to chance, so the decoder folds what it gives. One thing differs on purpose: a
special entry that is written in a text, such as ``[MASK]``, is that entry there.
"""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from nlphub.files import publish_json, publish_text
from nlphub.text.characters import VOCABULARY_FILE, CharacterTokenizer
from nlphub.text.manifest import SPECIAL
from nlphub.text.normalize import CODE_POINTS
from nlphub.text.wordpiece import LONGEST_WORD, WordPieceTokenizer

FILES = (VOCABULARY_FILE, "tokenizer.json", "tokenizer_config.json")
_SYMBOLS = r"[\p{S}²º〇µŋ]"  # as ERNIE's tokenizer has them, see tools/build_wordpiece.py
_SURROGATES = range(0xD800, 0xE000)  # no text of theirs holds one


def save_tokenizer(folder: Path, tokenizer: CharacterTokenizer | WordPieceTokenizer, *, max_length: int) -> None:
    """Write :data:`FILES`.

    Args:
        max_length: tokens of the longest sequence, special ones included.
    """
    publish_text(folder / VOCABULARY_FILE, "\n".join(tokenizer.vocabulary) + "\n")
    publish_json(folder / "tokenizer.json", tokenizer_json(tokenizer))
    names = {f"{'unk' if name == 'unknown' else name}_token": entry for name, entry in SPECIAL.items()}
    facts = {"clean_up_tokenization_spaces": False, "model_max_length": max_length, "tokenizer_class": "PreTrainedTokenizerFast"}
    inputs = {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}
    publish_json(folder / "tokenizer_config.json", names | facts | inputs)


def tokenizer_json(tokenizer: CharacterTokenizer | WordPieceTokenizer) -> dict[str, Any]:
    """The content of ``tokenizer.json``."""
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    special = sorted((tokenizer.vocabulary.index(entry), entry) for entry in SPECIAL.values())
    return {
        **(_characters(tokenizer) if isinstance(tokenizer, CharacterTokenizer) else _pieces(tokenizer)),
        "added_tokens": [{"content": entry, "id": number, **flags} for number, entry in special],
        "padding": None,
        "post_processor": {
            "cls": [SPECIAL["cls"], tokenizer.cls_id],
            "sep": [SPECIAL["sep"], tokenizer.sep_id],
            "type": "BertProcessing",
        },
        "truncation": None,
        "version": "1.0",
    }


def _characters(tokenizer: CharacterTokenizer) -> dict[str, Any]:
    variants = _variants(tokenizer)
    vocabulary = {entry: number for number, entry in enumerate(tokenizer.vocabulary)}
    vocabulary |= {other: vocabulary[entry] for entry, others in variants.items() for other in others}
    return {
        "decoder": {"decoders": [{"type": "Fuse"}, *map(_folded_back, variants.items())], "type": "Sequence"},
        "model": {"type": "WordLevel", "unk_token": SPECIAL["unknown"], "vocab": vocabulary},
        "normalizer": {"content": "", "pattern": {"Regex": _dropped(tokenizer)}, "type": "Replace"},
        "pre_tokenizer": {"behavior": "Isolated", "invert": False, "pattern": {"Regex": "(?m:.)"}, "type": "Split"},
    }


def _pieces(tokenizer: WordPieceTokenizer) -> dict[str, Any]:
    """BERT's own; for ERNIE with one more split, at the symbols."""
    lower = {"lowercase": tokenizer.lowercase, "strip_accents": tokenizer.lowercase}
    words: dict[str, Any] = {"type": "BertPreTokenizer"}
    symbols = {"behavior": "Isolated", "invert": False, "pattern": {"Regex": _SYMBOLS}, "type": "Split"}
    return {
        "decoder": {"cleanup": False, "prefix": "##", "type": "WordPiece"},
        "model": {
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": LONGEST_WORD,
            "type": "WordPiece",
            "unk_token": SPECIAL["unknown"],
            "vocab": {entry: number for number, entry in enumerate(tokenizer.vocabulary)},
        },
        "normalizer": {"clean_text": True, "handle_chinese_chars": True, "type": "BertNormalizer", **lower},
        "pre_tokenizer": {"pretokenizers": [words, symbols], "type": "Sequence"} if tokenizer.symbols else words,
    }


def _variants(tokenizer: CharacterTokenizer) -> dict[str, str]:
    """Every entry into which other characters are folded, and these characters."""
    folded: dict[str, str] = defaultdict(str)
    codes, entries = tokenizer.table.codes, set(tokenizer.vocabulary)
    for code in np.flatnonzero(codes != np.arange(CODE_POINTS)).tolist():
        if code not in _SURROGATES and codes[code] < CODE_POINTS and chr(codes[code]) in entries:
            folded[chr(codes[code])] += chr(code)
    return folded


def _folded_back(entry: tuple[str, str]) -> dict[str, Any]:
    """A decoder's rule that writes an entry for its variants."""
    target, others = entry
    return {"content": target, "pattern": {"Regex": _any_of((ord(other), ord(other)) for other in others)}, "type": "Replace"}


def _dropped(tokenizer: CharacterTokenizer) -> str:
    """A regular expression (Oniguruma's) for the characters that become nothing."""
    dropped = np.flatnonzero(tokenizer.table.codes == CODE_POINTS)
    runs = np.split(dropped, np.flatnonzero(np.diff(dropped) != 1) + 1)
    return _any_of((run[0], run[-1]) for run in runs) if len(dropped) else r"(?!)"  # (?!) matches nowhere


def _any_of(ranges: Iterable[tuple[int, int]]) -> str:
    """A class of characters, from first and last code points."""
    parts = (rf"\x{{{first:X}}}-\x{{{last:X}}}" for first, last in ranges)
    return f"[{''.join(parts)}]"
