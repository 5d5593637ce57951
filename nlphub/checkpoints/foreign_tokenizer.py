"""The tokenizer that lies beside weights of others: vocab.txt with its settings, ernie-tiny's three files, or ours."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nlphub.checkpoints import native
from nlphub.checkpoints.arrays import read_pickle
from nlphub.errors import WeightsError
from nlphub.nn.config import EncoderConfig
from nlphub.text import manifest
from nlphub.text.subword import SubwordTokenizer
from nlphub.text.tokenizers import Tokenizer, load_tokenizer
from nlphub.text.vocabulary import VOCABULARY_FILE, read_vocabulary
from nlphub.text.wordpiece import WordPieceTokenizer

PIECES, WORDS = "spm_cased_simp_sampled.model", "dict.wordseg.pickle"  # of ernie-tiny

_SETTINGS = "tokenizer_config.json"
_MOST_MODEL = 1 << 26  # bytes
_ONLY: dict[str, tuple[Any, ...]] = {  # settings, and the values that are known here
    "tokenize_chinese_chars": (True, None),
    "never_split": (None, []),
}


def find_tokenizer(folder: Path, *, family: str, config: EncoderConfig) -> tuple[Tokenizer | None, list[str]]:
    """The tokenizer of a folder, and what the report should say of it.

    Args:
        family: ``ernie`` splits symbols, ``bert`` does not.
        config: of the encoder: positions are the longest sequence, and no entry may be without an embedding.

    Raises:
        WeightsError: its vocabulary is larger than the embedding, or its settings are none that WordPiece here has.
    """
    if (folder / manifest.FILE_NAME).is_file():
        tokenizer: Tokenizer = load_tokenizer(folder)
    elif not (folder / VOCABULARY_FILE).is_file():
        return None, [f"there is no {VOCABULARY_FILE} in {folder}: the result has no tokenizer"]
    else:
        entries, notes = _entries(folder / VOCABULARY_FILE, config.vocab)
        if (folder / PIECES).is_file():
            return _subword(folder, entries, config.positions), notes
        return _wordpiece(folder, entries, family, config.positions), notes
    if len(tokenizer) != config.vocab:
        raise WeightsError(f"{folder / VOCABULARY_FILE} has {len(tokenizer):,} entries, and the network embeds {config.vocab:,}")
    return tokenizer, []


def _entries(path: Path, rows: int) -> tuple[tuple[str, ...], list[str]]:
    """The vocabulary, with a name for every row of the embedding behind its end: no text becomes them."""
    entries = read_vocabulary(path)
    if len(entries) > rows:
        raise WeightsError(f"{path} has {len(entries):,} entries, and the network embeds {rows:,}")
    more = tuple(f"[row{number}]" for number in range(len(entries), rows))
    notes = [f"{len(more):,} rows of the embedding have no entry; they are called {more[0]} to {more[-1]}"] if more else []
    return entries + more, notes


def _wordpiece(folder: Path, entries: Sequence[str], family: str, positions: int) -> WordPieceTokenizer:
    path = folder / _SETTINGS
    settings: Mapping[str, Any] = native.read_json(path) if path.is_file() else {}
    lowercase, accents = settings.get("do_lower_case", True), settings.get("strip_accents")
    wrong = [f"{name}={settings[name]!r}" for name, known in _ONLY.items() if name in settings and settings[name] not in known]
    wrong += [f"do_lower_case={lowercase!r}"] if type(lowercase) is not bool else []
    wrong += [f"strip_accents={accents!r}"] if accents not in (None, lowercase) else []
    if wrong:
        raise WeightsError(f"{path} asks for {', '.join(wrong)}, which the WordPiece of nlphub does not have")
    return WordPieceTokenizer(entries, lowercase=lowercase, symbols=family == "ernie", max_length=positions)


def _subword(folder: Path, entries: Sequence[str], positions: int) -> SubwordTokenizer:
    model, words = folder / PIECES, read_pickle(folder / WORDS) if (folder / WORDS).is_file() else None
    if not isinstance(words, (set, dict, list, tuple)) or not all(isinstance(word, str) for word in words):
        raise WeightsError(f"{folder / WORDS} has to be there and hold the words of ernie-tiny's dictionary, as texts")
    if model.stat().st_size > _MOST_MODEL:
        raise WeightsError(f"{model} is larger than {_MOST_MODEL:,} bytes: this is no SentencePiece model of a tokenizer")
    return SubwordTokenizer(entries, model.read_bytes(), dictionary=list(words), max_length=positions)
