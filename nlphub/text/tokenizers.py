"""What a tokenizer is to the rest of nlphub, and which one lies in a folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nlphub.errors import StoreError
from nlphub.text import characters, subword, wordpiece
from nlphub.text.characters import CharacterTokenizer
from nlphub.text.encoding import Encoded, Ints
from nlphub.text.manifest import Manifest
from nlphub.text.masking import Masked, Spans
from nlphub.text.subword import SubwordTokenizer
from nlphub.text.wordpiece import WordPieceTokenizer

_KINDS: dict[str, type[CharacterTokenizer | WordPieceTokenizer | SubwordTokenizer]] = {
    characters.KIND: CharacterTokenizer,
    wordpiece.KIND: WordPieceTokenizer,
    subword.KIND: SubwordTokenizer,
}


class Tokenizer(Protocol):
    """Text in, ids out. See :class:`~nlphub.text.characters.CharacterTokenizer` for what each member means."""

    vocabulary: tuple[str, ...]
    pad_id: int
    unknown_id: int
    cls_id: int
    sep_id: int
    mask_id: int
    max_length: int
    digest: str

    def __len__(self) -> int: ...
    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, max_length: int | None = None) -> Encoded: ...
    def encode_masked(self, texts: Sequence[str], *, max_length: int | None = None) -> Encoded: ...
    def decode(self, ids: Sequence[int] | Ints) -> str: ...
    def words(self, texts: Sequence[str], encoded: Encoded, pairs: Sequence[str] | None = None) -> NDArray[np.bool_]: ...
    def mask(
        self,
        encoded: Encoded,
        word_starts: NDArray[np.bool_],
        *,
        generator: np.random.Generator,
        rate: float = 0.15,
        spans: Spans | None = None,
    ) -> Masked: ...
    def restricted(self, entries: Sequence[str]) -> "Tokenizer": ...
    def save(self, folder: Path) -> None: ...


def load_tokenizer(folder: Path) -> Tokenizer:
    """Read the tokenizer of a folder: ``tokenizers/<name>``, a run, or an exported artefact.

    Raises:
        StoreError: there is none, or it is of a kind that this version of nlphub does not know.
        WeightsError: its files are not the ones that its manifest promises.
    """
    kind = Manifest.load(folder).kind
    if kind not in _KINDS:
        raise StoreError(f"{folder} holds a tokenizer of kind {kind!r}; this nlphub reads {', '.join(map(repr, _KINDS))}")
    return _KINDS[kind].load(folder)
