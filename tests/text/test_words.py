import csv
import marshal
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from nlphub.errors import InputError, StoreError
from nlphub.text import words
from nlphub.text.characters import CharacterTokenizer
from nlphub.text.normalize import spaces
from nlphub.text.words import Segmenter, find_word_starts, jieba_segmenter, rjieba_segmenter, split_words

ROOT = Path(__file__).resolve().parents[2]
CACHE = f"jieba-{metadata.version('jieba')}.cache"
ODD = [
    "", " ", "3.5%的利率，v9.2.14版本", "www.91wngci.com 800-2000 qinbo987@126.com", "IC卡和t恤，卡拉ok，Ａ股Ｂ超", "c++与C#和AT&T",
    "訂單號還沒收到，幫我查一下", "我\u200b们\u200d好", "iphone 15pro max", "a..b.c...1.", "𠮷野家在哪", "\ud800孤立\udfff代理",
    "😀👍🏽好的❤️", "قصة טוב", "\x00\x01制\n表\t符", "南京市长江大桥", "他来到了网易杭研大厦", "—…《》、。", "ⅷ⑩㎡℃",
]  # fmt: skip


@pytest.fixture(scope="module")
def sentences() -> list[str]:
    """Every third sentence of the demo data, and odd ones."""
    folder = ROOT / "recipes" / "data" / "bank_intents"
    lines = [
        line for name in ("train.csv", "out_of_scope.csv") for line in (folder / name).read_text(encoding="utf-8-sig").splitlines()[1:]
    ]
    return [row[0] for row in csv.reader(lines[::3])] + ODD


@pytest.fixture(scope="module")
def jieba_cut(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NLPHUB_HOME", str(tmp_path_factory.mktemp("home")))
        return jieba_segmenter()


def shown_words(tokenizer: CharacterTokenizer, text: str, segmenter: Segmenter | None = None) -> list[str]:
    """The words of a text, as the tokens of each joined."""
    encoded = tokenizer.encode([text])
    starts = find_word_starts([text], encoded, tokenizer.table, segmenter=segmenter)[1:-1].tolist()
    found: list[str] = []
    for token, start in zip(encoded.ids[1:-1].tolist(), starts, strict=True):
        if start:
            found.append("")
        found[-1] += tokenizer.vocabulary[token]
    return found


def planted_cache() -> bytes:
    """A prefix dictionary of jieba's that cuts a well known example wrongly."""
    planted = {word[:n]: 0 for word in ("南京", "市长", "江大桥") for n in range(1, len(word))} | {"南京": 9, "市长": 9, "江大桥": 9}
    return marshal.dumps((planted, 27))


def slow_starts(text: str, rules: dict[str, str], cut: Callable[[str], list[str]]) -> list[bool]:
    """The slow twin: what the segmenter sees, character by character, and which of its words each token starts."""
    seen, token = "", []
    for character in text:
        folded = rules.get(character, character)
        if folded or character.isspace():
            seen += folded or "\n"
            token.append(bool(folded))
    starts = [place == 0 for word in cut("".join(c.upper() if "a" <= c <= "z" else c for c in seen)) for place in range(len(word))]

    def in_run(i: int) -> bool:
        def letter(j: int) -> bool:
            return 0 <= j < len(seen) and seen[j].isascii() and seen[j].isalnum()

        return letter(i) or (seen[i] == "." and letter(i - 1) and letter(i + 1))

    for i, character in enumerate(seen):
        if i and in_run(i) and in_run(i - 1):
            starts[i] = False
        elif (character.isascii() and not in_run(i)) or (i and seen[i - 1].isascii() and not in_run(i - 1)):
            starts[i] = True
    return [start for start, is_token in zip(starts, token, strict=True) if is_token]


def test_jieba_and_rjieba_give_the_same_boundaries(zh_char: CharacterTokenizer, sentences: list[str], jieba_cut: Segmenter) -> None:
    assert len(sentences) > 500
    encoded = zh_char.encode(sentences)
    one = find_word_starts(sentences, encoded, zh_char.table, segmenter=jieba_cut)
    other = find_word_starts(sentences, encoded, zh_char.table, segmenter=rjieba_segmenter())
    assert np.array_equal(one, other)
    assert 0.3 < one.mean() < 0.9  # not everything, not nothing


def test_a_batch_agrees_with_the_slow_twin(
    zh_char: CharacterTokenizer, sentences: list[str], rules: dict[str, str], jieba_cut: Segmenter
) -> None:
    encoded = zh_char.encode(sentences)
    starts = find_word_starts(sentences, encoded, zh_char.table, segmenter=jieba_cut)
    for i, text in enumerate(sentences):
        row = starts[encoded.starts[i] : encoded.starts[i + 1]].tolist()
        assert row == [True, *slow_starts(text, rules, jieba_cut), True], text


@pytest.mark.parametrize("name", ["jieba", "rjieba"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("南京市长江大桥", ["南京市", "长江大桥"]),
        ("我的IPHONE15快遞還沒到", ["我", "的", "iphone15", "快递", "还", "没到"]),
        ("hello world，Ａ股", ["hello", "world", ",", "a股"]),
        ("利率3.5%", ["利率", "3.5", "%"]),
        ("长\u200b江\u200d大桥", ["长江大桥"]),
        ("长江 大桥", ["长江", "大桥"]),
    ],
)
def test_words_as_people_see_them(zh_char: CharacterTokenizer, jieba_cut: Segmenter, name: str, text: str, expected: list[str]) -> None:
    assert shown_words(zh_char, text, jieba_cut if name == "jieba" else rjieba_segmenter()) == expected


def test_the_tokenizer_uses_the_fast_segmenter_where_it_is_installed(zh_char: CharacterTokenizer, sentences: list[str]) -> None:
    words.default_segmenter.cache_clear()
    encoded = zh_char.encode(sentences)
    starts = zh_char.words(sentences, encoded)
    assert np.array_equal(starts, find_word_starts(sentences, encoded, zh_char.table, segmenter=rjieba_segmenter()))
    words.default_segmenter.cache_clear()


def test_without_rjieba_jieba_is_used(monkeypatch: pytest.MonkeyPatch, private_home: Path) -> None:
    words.default_segmenter.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert words.default_segmenter()("南京市长江大桥") == ["南京市", "长江大桥"]
    assert [path.suffix for path in (private_home / "cache" / "jieba").iterdir()] == [".cache"]
    words.default_segmenter.cache_clear()


def test_pairs_and_truncated_texts_are_aligned(zh_char: CharacterTokenizer) -> None:
    encoded = zh_char.encode(["南京市长江大桥", ""], ["我的iphone15", "长江"], max_length=12)
    starts = zh_char.words(["南京市长江大桥", ""], encoded, ["我的iphone15", "长江"])
    shown = [zh_char.vocabulary[i] for i in encoded.ids]
    assert "".join(f"|{s}" if start else s for s, start in zip(shown, starts, strict=True)) == (
        "|[CLS]|南京市|长江|[SEP]|我|的|ip|[SEP]|[CLS]|[SEP]|长江|[SEP]"
    )


def test_an_empty_batch_has_no_words(zh_char: CharacterTokenizer) -> None:
    assert zh_char.words([], zh_char.encode([])).shape == (0,)
    assert zh_char.words(["", " "], zh_char.encode(["", " "])).all()


def test_texts_that_were_not_encoded_are_an_error(zh_char: CharacterTokenizer) -> None:
    encoded = zh_char.encode(["长江", "大桥"])
    with pytest.raises(InputError, match="2 texts, not 1"):
        zh_char.words(["长江"], encoded)
    with pytest.raises(InputError, match="4 characters and these texts 3"):
        zh_char.words(["长江", "大 "], encoded)
    with pytest.raises(InputError, match="2 texts, not 1"):
        zh_char.words(["长江"], zh_char.encode(["长"], ["江"]))


def test_a_planted_cache_in_the_shared_temporary_folder_changes_nothing(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "jieba.cache").write_bytes(planted_cache())
    code = (
        "import jieba, sys; from nlphub.text.words import jieba_segmenter; cut = jieba_segmenter(); jieba.setLogLevel(60);"
        "print('/'.join(cut('南京市长江大桥')), '/'.join(jieba.lcut('南京市长江大桥')))"
    )
    environment = {"PYTHONPATH": str(ROOT), "NLPHUB_HOME": str(tmp_path / "home"), "TMPDIR": str(shared), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, encoding="utf-8", check=True, env=environment)
    assert done.stdout.split() == ["南京市/长江大桥", "南京/市长/江大桥"]  # ours, and what the trap does to jieba's own instance
    assert done.stderr == ""
    assert sorted(path.name for path in shared.iterdir()) == ["jieba.cache"]
    assert (tmp_path / "home" / "cache" / "jieba").stat().st_mode & 0o777 == 0o700


@pytest.fixture
def trap(private_home: Path, jieba_cut: Segmenter) -> Path:
    """A planted cache where ours will be looked for, in folders that are as private as they should be."""
    folder = private_home / "cache" / "jieba"
    folder.mkdir(parents=True)
    for step in (private_home, private_home / "cache", folder):
        step.chmod(0o700)
    (folder / CACHE).write_bytes(planted_cache())
    (folder / CACHE).chmod(0o600)
    return folder / CACHE


def test_the_trap_of_these_tests_bites(trap: Path) -> None:
    assert jieba_segmenter()("南京市长江大桥") == ["南京", "市长", "江大桥"]


@pytest.mark.parametrize("open_to_all", ["", "cache", "cache/jieba"], ids=["home", "cache", "jieba"])
def test_a_cache_in_a_folder_that_everybody_may_write_to_is_refused(trap: Path, private_home: Path, open_to_all: str) -> None:
    (private_home / open_to_all).chmod(0o777)
    with pytest.raises(StoreError, match=r"everybody may write to .*chmod o-w"):
        jieba_segmenter()


def test_a_cache_folder_of_another_user_is_refused(trap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: 4711)
    if trap.parent.stat().st_uid == 0:  # the administrator's folders are trusted, so give it away
        os.chown(trap.parent, 1234, -1)
    with pytest.raises(StoreError, match="belongs to another user"):
        jieba_segmenter()


def test_a_cache_that_was_planted_before_the_folder_was_closed_is_refused(trap: Path, tmp_path: Path) -> None:
    trap.chmod(0o666)
    with pytest.raises(StoreError, match=r"everybody may write to .*\.cache\. Delete it"):
        jieba_segmenter()
    trap.replace(tmp_path / "elsewhere")
    trap.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match=r"\.cache is a link or a folder where a file should be"):
        jieba_segmenter()


def test_a_cache_folder_that_is_a_link_is_refused(private_home: Path, tmp_path: Path) -> None:
    (private_home / "cache").mkdir(parents=True)
    (private_home / "cache" / "jieba").symlink_to(tmp_path)
    with pytest.raises(StoreError, match="is a link or a file"):
        jieba_segmenter()


def test_jieba_imports_under_warnings_as_errors_even_when_it_is_compiled_anew(tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(ROOT), "NLPHUB_HOME": str(tmp_path / "home"), "PYTHONPYCACHEPREFIX": str(tmp_path / "pyc")}
    code = "from nlphub.text.words import jieba_segmenter; jieba_segmenter()"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_white_space_is_what_python_calls_white_space() -> None:
    assert [chr(code) for code in np.flatnonzero(spaces())] == [chr(code) for code in range(0x110000) if chr(code).isspace()]


def test_split_words_are_those_that_the_tokens_make(zh_char: CharacterTokenizer, sentences: list[str]) -> None:
    known = [text for text in sentences[::5] if zh_char.unknown_id not in zh_char.encode([text]).ids]
    assert len(known) > 50
    assert split_words(known, zh_char.table) == [shown_words(zh_char, text) for text in known]
    assert split_words(["", " \u3000\n", "\ud800"], zh_char.table) == [[], [], ["\ufffd"]]
