"""Build tokenizers/zh_char: the vocabulary and the fold table of the Chinese character tokenizer.

    python tools/build_zh_char.py               write the folder
    python tools/build_zh_char.py --check       compare the folder with what would be written; exit code 1 if they differ
    python tools/build_zh_char.py --coverage    how many characters of the labelled sets in NLPHUB_DATA are in the vocabulary
    python tools/build_zh_char.py --invariance  how many traditional renderings of those texts keep their ids

Every source is in the standard library or in a package: the gb2312 codec, unicodedata, OpenCC's character dictionaries and jieba's
word frequencies. Their versions decide the result (``VERSIONS``): with others the command stops, so that the folder never drifts.
"""

import argparse
import json
import lzma
import random
import sys
import tempfile
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
from zh_char_sources import BLANK, EMOJI, GOLDEN, HAN, MODERN, SKIN_TONES, SYMBOLS, VARIANTS

from nlphub import files, paths
from nlphub.text.characters import CharacterTokenizer
from nlphub.text.manifest import SPECIAL
from nlphub.text.normalize import CODE_POINTS, Table, render

FOLDER = Path(__file__).resolve().parent.parent / "tokenizers" / "zh_char"
VERSIONS = {"unicodedata": "14.0.0", "opencc": "1.4.2", "jieba": "0.42.1"}
SIZE = 8192  # entries in all; a multiple of 64 makes the output layer's matrix product fast
UNUSED = 27  # so that characters start at 32
SURROGATES = range(0xD800, 0xE000)
REPLACEMENT = 0xFFFD
REGIONAL = range(0x1F1E6, 0x1F200)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--folder", type=Path, default=FOLDER, help="where the tokenizer lies or goes (default: tokenizers/zh_char)")
    modes = options.add_mutually_exclusive_group()
    for mode in ("check", "coverage", "invariance"):
        modes.add_argument(f"--{mode}", action="store_true")
    chosen = options.parse_args()
    if chosen.coverage:
        return coverage(chosen.folder)
    if chosen.invariance:
        return invariance(chosen.folder)
    _require_versions()
    return check(chosen.folder) if chosen.check else build(chosen.folder)


def build(folder: Path) -> int:
    """Write vocabulary, fold table, manifest and golden ids (README.md is written by hand)."""
    table = Table.parse(render(fold_codes()))
    tokenizer = CharacterTokenizer(vocabulary(table), table)
    tokenizer.save(folder)
    encoded = tokenizer.encode(GOLDEN)
    rows = zip(GOLDEN, encoded.lists(), encoded.starts[:-1], encoded.starts[1:], strict=True)
    golden = [{"text": text, "ids": ids, "offsets": encoded.offsets[a:b].tolist()} for text, ids, a, b in rows]
    files.publish_text(folder / "golden.jsonl", "".join(json.dumps(row) + "\n" for row in golden))
    print(f"{folder}: {len(tokenizer)} entries, {table.text.count(chr(10))} rules, digest {tokenizer.digest}")
    return 0


def check(folder: Path) -> int:
    """Build into a temporary folder and compare."""
    with tempfile.TemporaryDirectory() as name:
        build(Path(name))
        different = [path.name for path in sorted(Path(name).iterdir()) if not _same(path, folder / path.name)]
    print(f"differs: {', '.join(different)}" if different else f"{folder} is what this command builds")
    return 1 if different else 0


def fold_codes() -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    """``(0x110000,)``: every code point taken to its end by :func:`_steps`."""
    han = han_variants()
    codes = np.arange(CODE_POINTS, dtype=np.uint32)
    for code in range(CODE_POINTS):
        character = chr(code)
        if code in SURROGATES:
            codes[code] = REPLACEMENT
        elif unicodedata.category(character) not in ("Cn", "Co"):
            *_, last = _steps(character, han)
            codes[code] = ord(last) if last else CODE_POINTS
    return codes


def _steps(character: str, han: dict[str, str]) -> Iterator[str]:
    """A character, what it becomes, what that becomes, ... until nothing changes; "" is nothing."""
    seen: set[str] = set()
    while character not in seen:
        yield character
        seen.add(character)
        if character:
            character = _step(character, han)


def _step(character: str, han: dict[str, str]) -> str:
    if _is_dropped(character):
        return ""
    compatible = unicodedata.normalize("NFKC", character)
    for changed in (_variant(character), compatible, _base(character), _lower(character), han.get(character, "")):
        if len(changed) == 1 and changed != character:
            return changed
    return character


def _is_dropped(character: str) -> bool:
    """White space, control and format characters, marks that combine with the character before, and what is drawn as nothing."""
    category = unicodedata.category(character)
    return character.isspace() or category[0] in "MZ" or category in ("Cc", "Cf") or character in BLANK or character in SKIN_TONES


def _variant(character: str) -> str:
    if ord(character) in REGIONAL:
        return chr(ord("a") + REGIONAL.index(ord(character)))  # a flag is its country's letters
    return next((kept for kept, variants in VARIANTS.items() if character in variants), "")


def _base(character: str) -> str:
    """The ASCII letter under accents: é -> e; anything else is left alone (й and が are letters of their own)."""
    base, *marks = list(unicodedata.normalize("NFD", character))
    return base if marks and base.isascii() and base.isalpha() and all(unicodedata.category(mark)[0] == "M" for mark in marks) else ""


def _lower(character: str) -> str:
    return character.casefold() if len(character.casefold()) == 1 else character.lower()


def han_variants() -> dict[str, str]:
    """Han characters -> what OpenCC takes them to, each converted alone (never phrases); :func:`_steps` follows chains to their end.

    Simplification comes first. Regional forms (Taiwan, Hong Kong, Japan) are folded only where the character is not itself simplified
    Chinese: Japan's 芸 is 藝, but China's 芸 is not. The result is closed: what OpenCC writes for a simplified character in
    traditional Chinese folds back to the same entry (钜 is written 鉅, which is 巨, so 钜 is 巨 too).
    """
    han = [chr(code) for code in range(0x3000, 0x3FFFF) if _is_han(chr(code))]
    variants = HAN | {old: new for old, new in _converted(han, "t2s") if old not in HAN}
    japanese = [(new, old) for old, new in _converted(han, "t2jp")]
    regional = [*_converted(han, "tw2t"), *_converted(han, "hk2t"), *_converted(han, "jp2t"), *japanese]
    current = gb2312()
    for old, new in [*(pair for pair in regional if pair[0] not in current), *_converted(han, "s2t")]:
        *_, end = _steps(new, variants)
        if old not in variants and end != old:
            variants[old] = end
    return variants


def _converted(characters: list[str], config: str) -> list[tuple[str, str]]:
    """The characters that OpenCC changes, each converted alone, with what they become."""
    from opencc import OpenCC

    converted = OpenCC(config).convert("\n".join(characters)).split("\n")
    return [(old, new) for old, new in zip(characters, converted, strict=True) if new != old and len(new) == 1]


def vocabulary(table: Table) -> list[str]:
    """Special and unused entries, then characters by group, each group in ascending order; Han fill up to ``SIZE``."""
    entries = [*SPECIAL.values(), *(f"[unused{i}]" for i in range(UNUSED))]
    ascii_and_symbols = [chr(code) for code in range(0x21, 0x7F)], SYMBOLS, EMOJI
    kana = [chr(code) for code in (*range(0x3041, 0x3097), *range(0x30A1, 0x30FD))]
    bopomofo = [chr(code) for code in range(0x3105, 0x312A)]
    taken = set(entries)
    for group in (*ascii_and_symbols, [c for c in gb2312() if not _is_han(c)], kana, bopomofo):
        new = _folded(group, table) - taken
        entries += sorted(new)
        taken |= new
    common = _folded((c for c in gb2312() | big5_common() | set(MODERN) if _is_han(c)), table)
    others = [c for c, _ in sorted(_han_words(table).items(), key=lambda item: (-item[1], item[0])) if c not in common]
    return entries + sorted([*common, *others[: SIZE - len(entries) - len(common)]])


def gb2312() -> set[str]:
    """The 7,445 characters of GB/T 2312-1980: 6,763 Han, kana, Greek, Cyrillic, symbols."""
    return _decoded("gb2312", rows=range(0xA1, 0xF8), cells=range(0xA1, 0xFF))


def big5_common() -> set[str]:
    """The 5,401 Han of Big5's first level, those in common use in Taiwan."""
    return _decoded("big5", rows=range(0xA4, 0xC7), cells=range(0x40, 0xFF))


def _decoded(codec: str, *, rows: range, cells: range) -> set[str]:
    decoded = {bytes([row, cell]).decode(codec, "ignore") for row in rows for cell in cells}
    return {character for character in decoded if len(character) == 1 and not character.isascii()}


def _folded(characters: Iterable[str], table: Table) -> set[str]:
    return set(table.normalize("".join(characters)))


def _is_han(character: str) -> bool:
    return unicodedata.name(character, "").startswith("CJK UNIFIED")


def _han_words(table: Table) -> Counter[str]:
    """In how many words of jieba's dictionary each Han character stands (its lines of one character hold much that nobody writes)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import jieba
    with jieba.get_dict_file() as stream:
        words = [line.decode("utf-8").partition(" ")[0] for line in stream]
    return Counter(c for word in words if len(word) > 1 for c in set(table.normalize(word)) if _is_han(c))


def coverage(folder: Path) -> int:
    """Print, over all texts of the labelled sets, the share of kept characters that are in the vocabulary, and the commonest others."""
    tokenizer, counts = CharacterTokenizer.load(folder), Counter[str]()
    for text in _texts():
        counts.update(text)
    folded: Counter[str] = Counter()
    for character, count in counts.items():
        folded[tokenizer.table.normalize(character)] += count
    dropped, known = folded.pop("", 0), set(tokenizer.vocabulary)
    unknown = Counter({character: count for character, count in folded.items() if character not in known})
    print(f"characters {counts.total():,}, dropped {dropped:,}, kept {folded.total():,}")
    print(f"[UNK] {unknown.total():,} = {unknown.total() / folded.total():.4%}: {' '.join(f'{c}{n}' for c, n in unknown.most_common(40))}")
    used = sum(entry in folded for entry in tokenizer.vocabulary[tokenizer.ordinary :])
    print(f"{used:,} of {len(tokenizer) - tokenizer.ordinary:,} characters of the vocabulary occur")
    return 0


def invariance(folder: Path) -> int:
    """Print how often OpenCC's phrase-level renderings of the labelled texts keep every id, and what breaks the others."""
    from opencc import OpenCC

    tokenizer = CharacterTokenizer.load(folder)
    texts = [text for text in dict.fromkeys(_texts()) if len(text) <= 200]
    texts = random.Random(0).sample(texts, 100_000)
    plain = list(map(OpenCC("t2s").convert, texts))
    for config in ("s2t", "s2tw", "s2hk"):
        converted = map(OpenCC(config).convert, plain)
        broken: Counter[str] = Counter()
        equal = 0
        for old, new in zip(plain, converted, strict=True):
            one, other = tokenizer.table.normalize(old), tokenizer.table.normalize(new)
            equal += one == other
            if len(one) == len(other):
                broken.update(f"{b}≠{a}" for a, b in zip(one, other, strict=True) if a != b)
        worst = " ".join(f"{pair}:{count}" for pair, count in broken.most_common(30))
        print(f"{config}: {equal / len(plain):.3%} of {len(plain):,} texts keep every id; {worst}")
    return 0


def _texts() -> Iterator[str]:
    root = paths.real_data()
    if root is None:
        sys.exit("Set NLPHUB_DATA to the folder that holds labelled/<name>/*.jsonl.xz")
    for path in sorted(root.glob("labelled/*/*.jsonl.xz")):
        with lzma.open(path, "rt", encoding="utf-8") as stream:
            for line in stream:
                for value in json.loads(line).values():
                    yield from _strings(value)


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()


def _require_versions() -> None:
    here = {"unicodedata": unicodedata.unidata_version, "opencc": metadata.version("opencc"), "jieba": metadata.version("jieba")}
    if here != VERSIONS:
        sys.exit(f"The folder is built with {VERSIONS}, and here are {here}; a build would change ids for no reason of ours")


if __name__ == "__main__":
    sys.exit(main())
