"""The tokenizers of the tokenising section, ours and the peers', on the same vocabularies, made from the texts of the benchmark."""

import io
import os
import string
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import nlphub as hub
from nlphub.text.characters import CharacterTokenizer
from nlphub.text.subword import SubwordTokenizer
from nlphub.text.tokenizers import load_tokenizer
from nlphub.text.wordpiece import WordPieceTokenizer

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PIECES, SENTENCES = 8000, 4000  # of a SentencePiece model
ENTRIES = 21128  # of BERT's Chinese vocabulary

Lists = Callable[[Sequence[str]], list[list[int]]]


class Made:
    """All tokenizers, each made when first asked for.

    Args:
        texts: what vocabularies are made from.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self.vocabulary = made_vocabulary(texts)

    @cached_property
    def wordpiece(self) -> WordPieceTokenizer:
        return WordPieceTokenizer(self.vocabulary)

    @cached_property
    def ernie(self) -> WordPieceTokenizer:
        return WordPieceTokenizer(self.vocabulary, symbols=True)

    @cached_property
    def characters(self) -> CharacterTokenizer:
        found = load_tokenizer(Path(hub.__file__).parents[1] / "tokenizers" / "zh_char")
        assert isinstance(found, CharacterTokenizer)
        return found

    @cached_property
    def plain_subword(self) -> SubwordTokenizer:
        model = trained(self.texts)
        return SubwordTokenizer(pieces_of(model), model)

    @cached_property
    def subword(self) -> SubwordTokenizer:
        """The same model behind a dictionary of words."""
        return SubwordTokenizer(self.plain_subword.vocabulary, self.plain_subword._bytes, dictionary=jieba_words())

    @cached_property
    def bert(self) -> Any:
        """BERT's pipeline of the library `tokenizers`, with [CLS] and [SEP]."""
        from tokenizers import BertWordPieceTokenizer

        return BertWordPieceTokenizer({entry: number for number, entry in enumerate(self.vocabulary)}, lowercase=True)

    def folded(self, texts: Sequence[str]) -> list[str]:
        """As the character tokenizer folds them: where its peer, which has no such table, gives the same ids."""
        return [self.characters.table.normalize(text) for text in texts]

    def one_of_peer(self) -> Callable[[str], object]:
        encode = self.bert._tokenizer.encode
        return lambda text: encode(text).ids

    def word_piece_peers(self) -> Mapping[str, Lists]:
        fast = self.bert._tokenizer
        return {
            "tokenizers": alone(lambda texts: [found.ids for found in fast.encode_batch_fast(texts)]),
            "tokenizers with offsets": alone(lambda texts: [found.ids for found in fast.encode_batch(texts) if found.offsets]),
            f"tokenizers, {os.cpu_count()} threads": together(lambda texts: [found.ids for found in fast.encode_batch_fast(texts)]),
            "transformers": alone(lambda texts: self._transformers(texts, truncation=True, max_length=512)["input_ids"]),
        }

    def character_peers(self) -> Mapping[str, Lists]:
        """A WordLevel model behind a split into single characters."""
        from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

        entries = {entry: number for number, entry in enumerate(self.characters.vocabulary)}
        found = Tokenizer(models.WordLevel(entries, unk_token="[UNK]"))
        found.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        found.post_processor = processors.BertProcessing(("[SEP]", entries["[SEP]"]), ("[CLS]", entries["[CLS]"]))
        return {"tokenizers": alone(lambda texts: [each.ids for each in found.encode_batch_fast(texts)])}

    def sentencepiece_peers(self) -> Mapping[str, Lists]:
        """On the texts as they are, without a dictionary."""
        import sentencepiece

        model = sentencepiece.SentencePieceProcessor(model_proto=self.plain_subword._bytes)
        return {
            "SentencePiece": lambda texts: model.encode(list(texts), return_type=int, num_threads=1),
            "SentencePiece with offsets": lambda texts: model.encode(list(texts), return_type="offset_mapping", num_threads=1),
        }

    def segmenters(self) -> dict[str, Callable[[str], list[str]]]:
        from importlib.util import find_spec

        from nlphub.text.words import jieba_segmenter, rjieba_segmenter

        found: dict[str, Callable[[str], list[str]]] = {"jieba": jieba_segmenter()}
        return {**found, "rjieba": rjieba_segmenter()} if find_spec("rjieba") else found

    @cached_property
    def _transformers(self) -> Any:
        from transformers import BertTokenizerFast

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "vocab.txt"
            path.write_text("\n".join(self.vocabulary) + "\n", "utf-8")
            return BertTokenizerFast(str(path), do_lower_case=True)


def trained(texts: Sequence[str]) -> bytes:
    """A SentencePiece model that knows every character of the texts."""
    import sentencepiece

    stream, letters = io.BytesIO(), string.ascii_lowercase + string.digits
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([letters, *texts[:: max(1, len(texts) // SENTENCES)]]), model_writer=stream, vocab_size=PIECES,
        hard_vocab_limit=False, character_coverage=0.9995, required_chars=letters, num_threads=1, minloglevel=2,
    )  # fmt: skip
    return stream.getvalue()


def pieces_of(data: bytes) -> list[str]:
    """The vocabulary of a tokenizer with a SentencePiece model."""
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor(model_proto=data)
    return [*SPECIAL, *(model.id_to_piece(number) for number in range(3, model.get_piece_size()))]


def alone(lists: Lists) -> Lists:
    """On one thread."""
    return _with_threads(lists, "false")


def together(lists: Lists) -> Lists:
    """On as many threads as the library takes by itself."""
    return _with_threads(lists, "true")


def _with_threads(lists: Lists, parallel: str) -> Lists:
    def run(texts: Sequence[str]) -> list[list[int]]:
        os.environ["TOKENIZERS_PARALLELISM"] = parallel
        return lists(texts)

    return run


def made_vocabulary(texts: Sequence[str]) -> list[str]:
    """As BERT's Chinese one: characters, each also as ``##``, all single and double Latin signs, pieces of frequent words."""
    signs = string.ascii_lowercase + string.digits
    words = Counter(word for text in texts for word in text.lower().split() if word.isascii() and word.isalpha())
    pieces = [*signs, *(a + b for a in signs for b in signs), *(word[:4] for word, _ in words.most_common(2000))]
    characters = [sign for sign, _ in Counter("".join(texts).lower()).most_common(8000) if not sign.isspace()]
    letters = [character for character in characters if character.isalpha()]
    entries = dict.fromkeys([*SPECIAL, *characters, *pieces, *(f"##{piece}" for piece in pieces), *(f"##{letter}" for letter in letters)])
    return list(entries)[:ENTRIES]


def jieba_words() -> list[str]:
    """Words of 2 to 5 characters of jieba's dictionary, as many as Baidu's list has: the frequent ones."""
    import importlib.util

    spec = importlib.util.find_spec("jieba")
    assert spec is not None
    assert spec.origin is not None
    lines = (Path(spec.origin).parent / "dict.txt").read_text("utf-8").split("\n")[:-1]
    counted = [(int(count), word) for word, count, *_ in (line.split(" ") for line in lines) if 2 <= len(word) <= 5]
    return [word for _, word in sorted(counted, reverse=True)[:100_000]]
