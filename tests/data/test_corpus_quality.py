"""Filters: each reason with lines that go and lines that stay; shares against a slow twin; every character is accounted for."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from nlphub.data.corpus import counts, quality
from nlphub.data.corpus.batch import Batch
from nlphub.data.corpus.counts import Counts
from nlphub.data.corpus.quality import Rules, screen
from nlphub.text.characters import CharacterTokenizer

GOOD = [
    "今天下午去银行办卡，排队的人不多。",
    "嗯。。。希望你一切都好。。。",
    "那不然呢··放出去··也是要飞走的啊···",
    "iPhone 15 和 华为 Mate 60 哪个更适合老人用？",
    "Prüfer 序列的线性构造算法，以及 résumé 的写法。",
    "哈哈哈，笑死我了，这也太有意思了吧！！",
    "未经允许不得进入施工现场，请走旁边的通道。",
    "登录后台以后，在设置里可以修改密码。",
]
BAD = {
    counts.GARBLED: [
        "è¿\x99æ\x98¯ä¸\x80å\x8f¥è¯\x9d没有解码",
        "锟斤拷锟斤拷这一行坏掉了",
        "坏\ufffd\ufffd掉\ufffd的字",
        "杩欐槸涓€鍙ヨ瘽锛屾病鏈夎В鐮侊紝鐨勬槸銆�",
    ],
    counts.REPEATED: ["哈哈哈哈哈哈哈哈哈哈哈哈", "要看要看要看要看要看要看要看", "------------------好------------------"],
    counts.FOREIGN: ["int main() { return 0; } // 主函数", "see the schedule for 7 June", "2024-01-01 12:00:00 3.1415926 成功"],
    counts.BOILERPLATE: [
        "版权所有 某某公司",
        "未经许可，不得转载",
        "责任编辑：王某某",
        "长按识别图中二维码加好友",
        "京公网安备一二三四号",
        "下一篇：怎么办卡",
    ],
}


def judge(documents: list[list[str]], tokenizer: CharacterTokenizer, rules: Rules | None = None) -> tuple[list[list[str]], Counts]:
    batch, tally = Batch.of(documents, tokenizer.table), Counts()
    tally.add(counts.READ, documents=len(batch), lines=len(batch.lines), characters=len(batch.codes))
    left = batch.take(screen(batch, rules or Rules(), tally))
    edges = left.documents.tolist()
    return [list(left.lines[a:b]) for a, b in itertools.pairwise(edges)], tally


@pytest.mark.parametrize("line", GOOD)
def test_a_good_line_stays(line: str, tokenizer: CharacterTokenizer) -> None:
    assert judge([[line]], tokenizer)[0] == [[line]]


@pytest.mark.parametrize(("reason", "line"), [(reason, line) for reason, lines in BAD.items() for line in lines])
def test_a_bad_line_goes_for_its_reason(reason: str, line: str, tokenizer: CharacterTokenizer) -> None:
    left, tally = judge([[GOOD[0], line, GOOD[3]]], tokenizer)
    assert left == [[GOOD[0], GOOD[3]]]
    assert tally[reason][:2] == (0, 1)


def test_long_lines_may_mention_page_furniture(tokenizer: CharacterTokenizer) -> None:
    line = "根据合同，版权所有者可以要求对方停止使用，并且赔偿由此造成的全部损失，具体的数额由双方协商，协商不成的可以向法院起诉。"
    assert judge([[line]], tokenizer)[0] == [[line]]


def test_a_line_is_kept_once_in_a_document_unless_it_is_short(tokenizer: CharacterTokenizer) -> None:
    document = [GOOD[0], "好的", GOOD[3], "好的", GOOD[0].replace("，", ","), "好的"]
    left, tally = judge([document, [GOOD[0]]], tokenizer)
    assert left == [[GOOD[0], "好的", GOOD[3], "好的", "好的"], [GOOD[0]]]
    assert tally[counts.REPEATED_LINE][:2] == (0, 1)


def test_a_document_that_is_too_short_goes(tokenizer: CharacterTokenizer) -> None:
    left, tally = judge([["好的", "谢谢"], ["好的谢谢再见", "明天见"], [], ["\u3000"], ["see you", GOOD[0]]], tokenizer)
    assert left == [[], ["好的谢谢再见", "明天见"], [], [], [GOOD[0]]]
    assert tally[counts.SHORT][:2] == (3, 2)


def slow_repetition(text: str) -> float:
    grams = [text[i : i + 10] for i in range(len(text) - 9)]
    return 1 - len(set(grams)) / len(grams) if len(text) >= 100 else 0.0


def test_repetition_is_the_share_of_10_grams_that_were_there(sentences: Callable[..., list[str]], tokenizer: CharacterTokenizer) -> None:
    lines = sentences(60, words=8)
    generator = np.random.default_rng(0)
    documents = [
        [lines[i] for i in generator.integers(0, high, size)] for high, size in [(3, 9), (60, 9), (5, 20), (60, 40), (2, 2), (1, 0)] * 5
    ]
    batch = Batch.of(documents, tokenizer.table)
    found = quality._repetition(batch, np.ones(len(batch.lines), np.bool_))
    normalized = ["".join(map(tokenizer.table.normalize, document)) for document in documents]
    np.testing.assert_allclose(found, [slow_repetition(text) for text in normalized], rtol=0, atol=1e-12)


def test_a_repetitive_document_goes(sentences: Callable[..., list[str]], tokenizer: CharacterTokenizer) -> None:
    wave = "不错，希望卖家越做越好，这次活动实在是太划算了，"
    left, tally = judge([[wave * 6], sentences(6)], tokenizer)
    assert left == [[], sentences(6)]
    assert tally[counts.REPETITIVE][:2] == (1, 1)


def test_every_document_line_and_character_is_accounted_for(sentences: Callable[..., list[str]], tokenizer: CharacterTokenizer) -> None:
    lines = [*GOOD, *(line for bad in BAD.values() for line in bad), *sentences(10), "好", "", "\ud800", "\x00"]
    generator = np.random.default_rng(3)
    documents = [[lines[i] for i in generator.integers(0, len(lines), size)] for size in generator.integers(0, 9, 300)]
    left, tally = judge(documents, tokenizer)
    characters = sum(len(tokenizer.table.normalize(line)) for document in left for line in document)
    rest = (sum(map(bool, left)), sum(map(len, left)), characters)
    taken = [sum(column) for column in zip(*(tally[step] for step in counts.DROPS), strict=True)]
    assert tuple(r - t for r, t in zip(tally[counts.READ], taken, strict=True)) == rest
    assert all(tally[reason][1] for reason in BAD)


def test_thresholds_are_the_callers(tokenizer: CharacterTokenizer) -> None:
    line = BAD[counts.FOREIGN][0]
    assert judge([[line]], tokenizer, Rules(han=0.1))[0] == [[line]]
    assert judge([[GOOD[0]]], tokenizer, Rules(short=100))[0] == [[]]


def test_an_empty_batch_is_nothing(tokenizer: CharacterTokenizer) -> None:
    assert judge([], tokenizer)[0] == []
    assert judge([[], []], tokenizer)[0] == [[], []]
