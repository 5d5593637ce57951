"""Evaluation data stay out: an index against sets of strings, planted sentences, and every format they may lie in."""

import itertools
import json
import lzma
import random
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from nlphub.data.corpus.batch import Batch
from nlphub.data.corpus.contamination import Index, decontaminate, evaluation_files, evaluation_texts
from nlphub.data.corpus.counts import EVALUATION_GRAM, EVALUATION_LINE, Counts
from nlphub.errors import DataError, InputError
from nlphub.text.characters import CharacterTokenizer

Documents = list[list[str]]
Make = Callable[..., Documents]


def slow(documents: Documents, evaluation: Iterable[str], normalize: Callable[[str], str]) -> Documents:
    """The definition, in sets of strings: what is left of the documents."""
    texts = [normalize(text) for text in evaluation]
    grams = {text[i : i + 13] for text in texts for i in range(len(text) - 12)}
    grams = {gram for gram in grams if any("\u4e00" <= character <= "\u9fff" for character in gram)}
    short = {text for text in texts if 0 < len(text) < 13}
    result = []
    for document in documents:
        lines = [line for line in document if normalize(line) not in short]
        while True:
            whole = "".join(map(normalize, lines))
            marked = {i + k for i in range(len(whole) - 12) if whole[i : i + 13] in grams for k in range(13)}
            left, start = [], 0
            for line in lines:
                end = start + len(normalize(line))
                if not marked & set(range(start, end)):
                    left.append(line)
                start = end
            if left == lines:
                break
            lines = left
        result.append(lines)
    return result


def fast(documents: Documents, evaluation: Iterable[str], tokenizer: CharacterTokenizer) -> tuple[Documents, Counts]:
    tally = Counts()
    batch, left = decontaminate(Batch.of(documents, tokenizer.table), Index.of(evaluation, tokenizer.table), tally)
    every = [line for document in documents for line in document]
    assert list(batch.lines) == [every[i] for i in left]
    edges = batch.documents.tolist()
    return [list(batch.lines[a:b]) for a, b in itertools.pairwise(edges)], tally


def test_what_is_left_is_what_sets_of_strings_leave(documents: Make, tokenizer: CharacterTokenizer) -> None:
    train, test = documents(60, seed=1), documents(15, seed=2)
    chance = random.Random(0)
    for document in train[:40]:
        whole = "".join(chance.choice(test))
        start, length = chance.randrange(20), chance.choice([9, 12, 13, 14, 30])
        place = chance.randrange(len(document))
        document[place : place + 1] = [whole[start : start + length // 2], whole[start + length // 2 : start + length]]
    train += [["查一下余额"], ["好的", "查一下余额", "谢谢"], [], ["ＡＢＣ１２３，办卡"]]
    evaluation = ["".join(document) for document in test] + ["查一下余额", "abc123,办卡", ""]
    left, tally = fast(train, evaluation, tokenizer)
    assert left == slow(train, evaluation, tokenizer.table.normalize)
    assert tally[EVALUATION_LINE][1] == 3
    assert tally[EVALUATION_GRAM][1] > 20
    assert left[-4:-1] == [[], ["好的", "谢谢"], []]


def test_a_part_that_comes_together_when_a_line_goes_is_found(tokenizer: CharacterTokenizer) -> None:
    secret, bait = "请问这张信用卡的年费是多少钱一年", "另一句必须排除在外的评测文本内容"
    document = [secret[:8], bait, secret[8:], "这一行与评测数据毫无关系，应当留下。"]
    assert fast([document], [secret, bait], tokenizer)[0] == [[document[-1]]]


@pytest.mark.parametrize(
    "disguise",
    [
        lambda text: text,
        lambda text: f"前面有别的话，{text}后面也有",
        lambda text: " ".join(text),
        lambda text: text.replace("银行", "銀行").replace("，", ","),
        lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
        lambda text: text.upper(),
        lambda text: f"{text[:9]}\u200b{text[9:]}",
    ],
)
def test_a_planted_test_sentence_never_survives(disguise: Callable[[str], str], tokenizer: CharacterTokenizer) -> None:
    sentence = "我想问一下，银行的app怎么转账到别的账户?"
    for document in (
        [disguise(sentence)],
        ["开头", disguise(sentence), "结尾"],
        ["开头" + disguise(sentence)[:16], disguise(sentence)[16:]],
    ):
        left, _ = fast([document, ["无关的一行"]], [sentence], tokenizer)
        assert left[1] == ["无关的一行"]
        assert not any(part in "".join(left[0]) for part in (sentence[6:14], disguise(sentence)[6:14]))


def test_parts_do_not_cross_documents_nor_evaluation_texts(tokenizer: CharacterTokenizer) -> None:
    one, two = "甲乙丙丁戊己庚辛壬癸", "子丑寅卯辰巳午未申酉"
    assert fast([[one + "一"], [two + "二"]], [one + "三" + two], tokenizer)[0] == [[one + "一"], [two + "二"]]
    assert fast([[one + two]], [one, two], tokenizer)[0] == [[one + two]]


def test_parts_without_chinese_do_not_count(tokenizer: CharacterTokenizer) -> None:
    line = "各地的internationalization规范与1234567890123456相同"
    assert fast([[line]], ["internationalization", "编号1234567890123456", "2, internationalization!"], tokenizer)[0] == [[line]]
    assert fast([[line]], ["不管哪个internationalization规范"], tokenizer)[0] == [[]], "nationalization规 holds a Chinese character"


def test_nothing_to_keep_out_keeps_everything(documents: Make, tokenizer: CharacterTokenizer) -> None:
    train = documents(5)
    assert fast(train, [], tokenizer)[0] == train
    assert fast([], ["随便什么评测文本都可以放在这里"], tokenizer)[0] == []


def test_a_saved_index_knows_the_same(tmp_path: Path, documents: Make, tokenizer: CharacterTokenizer) -> None:
    index = Index.of(["".join(document) for document in documents(40)], tokenizer.table)
    index.save(tmp_path / "index")
    again = Index.open(tmp_path / "index")
    probes = np.concatenate([index.grams, np.random.default_rng(0).integers(0, 1 << 63, 5000).astype(np.uint64)])
    np.testing.assert_array_equal(again.known(probes), np.isin(probes, index.grams))


def test_every_text_of_a_file_counts(tmp_path: Path) -> None:
    row = {"text": "正文", "tokens": ["上", "海"], "deep": [{"答": ["甲", {"乙": "丙"}]}], "n": 3, "none": None}
    plain = json.dumps(row, ensure_ascii=False) + "\n"
    (tmp_path / "test.jsonl").write_text(plain, encoding="utf-8")
    (tmp_path / "dev.jsonl.xz").write_bytes(lzma.compress(plain.encode()))
    (tmp_path / "test.csv").write_text("问题,意图\n怎么办卡,办卡\n", encoding="utf-8-sig")
    (tmp_path / "test.txt").write_text("第一行\n第二行\n", encoding="gb18030")
    for name in ("test.jsonl", "dev.jsonl.xz"):
        assert {"正文", "上海", "甲", "丙"} <= set(evaluation_texts(tmp_path / name))
    assert {"怎么办卡", "办卡"} <= set(evaluation_texts(tmp_path / "test.csv"))
    assert [text.strip() for text in evaluation_texts(tmp_path / "test.txt")] == ["第一行", "第二行"]


def test_of_a_folder_the_evaluation_files_count(tmp_path: Path) -> None:
    for name in (
        "a/train.jsonl",
        "a/test.jsonl",
        "a/dev_0.jsonl.xz",
        "b/c/test_unlabelled.jsonl.zst",
        "b/Valid.csv",
        "b/labels.json",
        "b/test.md",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [str(path.relative_to(tmp_path)) for path in evaluation_files([tmp_path, tmp_path / "a" / "test.jsonl"])]
    assert sorted(found) == ["a/dev_0.jsonl.xz", "a/test.jsonl", "b/Valid.csv", "b/c/test_unlabelled.jsonl.zst"]
    assert evaluation_files([tmp_path / "a" / "train.jsonl"]) == [tmp_path / "a" / "train.jsonl"], "a file is meant as it is given"


def test_what_cannot_be_kept_out_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "test.pdf").touch()
    with pytest.raises(InputError) as caught:
        evaluation_files([tmp_path / "missing", tmp_path / "empty", tmp_path / "test.pdf"])
    assert len(caught.value.problems) == 3
    (tmp_path / "test.jsonl").write_text('{"text": "好"}\n{broken\n', encoding="utf-8")
    with pytest.raises(DataError, match="could not be kept out"):
        list(evaluation_texts(tmp_path / "test.jsonl"))
