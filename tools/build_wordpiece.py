"""Build nlphub/text/wordpiece.tsv: what BERT's and ERNIE's tokenizers do with each code point, whatever Python's own Unicode version is.

    python tools/build_wordpiece.py            write the table
    python tools/build_wordpiece.py --check    only compare; exit code 1 if it is stale

Cleaning, folding and punctuation are asked of the library `tokenizers` (its BertNormalizer and BertPreTokenizer), one code point at a
time. Symbols are Unicode's categories S* and five more characters, which ERNIE's own tokenizer splits too (PaddleNLP 2.8,
transformers/tokenizer_utils.py, _is_symbol). Hangul syllables are not listed: their decomposition is a formula.
"""

import argparse
import sys
import unicodedata
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

from tokenizers import normalizers, pre_tokenizers

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from nlphub import files  # noqa: E402 - from this repository, installed or not

TABLE = ROOT / "nlphub" / "text" / "wordpiece.tsv"
CODES = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
HANGUL = range(0xAC00, 0xD7A4)
ALSO_SYMBOLS = {0x00B2, 0x00BA, 0x3007, 0x00B5, 0x014B}


def normalizer(**wanted: bool) -> Callable[[str], str]:
    flags = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False} | wanted
    return normalizers.BertNormalizer(**flags).normalize_str


CLEAN, SPACED = normalizer(clean_text=True), normalizer(handle_chinese_chars=True)
FOLD = normalizer(strip_accents=True, lowercase=True)
SPLIT = pre_tokenizers.BertPreTokenizer().pre_tokenize_str


def kind(code: int) -> str:
    """The first class that fits, or nothing for a letter."""
    character = chr(code)
    pieces = [piece for piece, _ in SPLIT(f"x{character}x")]
    if CLEAN(character) == "":
        return "drop"
    if CLEAN(character) == " " or pieces == ["x", "x"]:
        return "space"
    if SPACED(character) != character:
        return "cjk"
    if len(pieces) == 3:
        return "punctuation"
    return "symbol" if unicodedata.category(character).startswith("S") or code in ALSO_SYMBOLS else ""


def lines() -> Iterator[str]:
    kinds = {code: kind(code) for code in CODES}
    yield from ranges(kinds)
    for code in CODES:
        if code not in HANGUL and kinds[code] not in ("drop", "space") and FOLD(chr(code)) != chr(code):
            yield f"fold\t{code:04X}\t{FOLD(chr(code))}\n"


def ranges(kinds: dict[int, str]) -> Iterator[str]:
    for name, group in groupby(CODES, key=lambda code: (kinds[code], code >= 0xE000)):
        members = list(group)
        if name[0]:
            yield f"{name[0]}\t{members[0]:04X}..{members[-1]:04X}\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    new = "".join(lines())
    if parser.parse_args().check:
        same = TABLE.is_file() and TABLE.read_bytes() == new.encode()
        print("the table is as it should be" if same else f"{TABLE} is stale")
        return int(not same)
    files.publish_text(TABLE, new)
    print(f"{TABLE}: {new.count(chr(10)):,} lines, {len(new.encode()):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
