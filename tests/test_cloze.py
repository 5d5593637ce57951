"""benchmarks/cloze.py counts what it says: baselines against slow twins, equal candidates for all, honest rates."""

import importlib.util
import itertools
import math
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from nlphub.data.shards import Corpus, write_shard
from nlphub.tasks.fill_mask import candidates
from nlphub.text.characters import CharacterTokenizer
from nlphub.text.tokenizers import load_tokenizer

ROOT = Path(__file__).parent.parent
TEXTS = ["今天天气真好，天气好", "天真的孩子", "真好气人", "好", "天气预报说今天有雨", "今天", "气真足"]


@pytest.fixture(scope="module")
def tokenizer() -> CharacterTokenizer:
    return load_tokenizer(ROOT / "tokenizers" / "zh_char")


@pytest.fixture(scope="module")
def cloze() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cloze", ROOT / "benchmarks" / "cloze.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["cloze"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def corpus(tokenizer: CharacterTokenizer, tmp_path: Path) -> Corpus:
    for number, texts in enumerate((TEXTS[:4], TEXTS[4:])):
        rows = [ids[1:-1] for ids in tokenizer.encode(texts).lists()]
        ids = np.array(list(itertools.chain(*rows)))
        starts = np.cumsum([0, *map(len, rows)])
        write_shard(
            tmp_path / f"s{number}.safetensors",
            ids=ids,
            word_starts=np.ones(len(ids), bool),
            starts=starts,
            tokenizer_digest=tokenizer.digest,
        )
    return Corpus.open(tmp_path, tokenizer_digest=tokenizer.digest)


@pytest.mark.parametrize("chunk", [1, 2, 3, 1 << 22])
def test_counts_equal_the_slow_twin_however_shards_are_cut(cloze, corpus, tokenizer, chunk, monkeypatch):
    monkeypatch.setattr(cloze, "CHUNK", chunk)
    rows = [tokenizer.encode([text]).ids[1:-1].tolist() for text in TEXTS]
    pairs = Counter(pair for row in rows for pair in itertools.pairwise(row))
    known = sorted({i for row in rows for i in row})[:6]
    counts = cloze.count(corpus, left=known, right=known, vocabulary=len(tokenizer))
    assert counts.tokens == sum(map(len, rows))
    assert {i: int(n) for i, n in enumerate(counts.single) if n} == Counter(i for row in rows for i in row)
    for i in known:
        assert {j: int(n) for j, n in enumerate(counts.after[i]) if n} == {b: n for (a, b), n in pairs.items() if a == i}
        assert {j: int(n) for j, n in enumerate(counts.before[i]) if n} == {a: n for (a, b), n in pairs.items() if b == i}


def test_bigrams_are_ranked_by_the_product_of_both_probabilities(cloze, corpus, tokenizer):
    item = cloze.Item("今天天[MASK]真好", "气", "everyday")
    (left,), (right,) = cloze.neighbours([item], tokenizer)
    assert (tokenizer.vocabulary[left], tokenizer.vocabulary[right]) == ("天", "真")
    counts = cloze.count(corpus, left=[left], right=[right], vocabulary=len(tokenizer))
    ids = candidates(tokenizer.vocabulary)
    k = cloze.SMOOTHING

    def slow(c: int) -> float:
        first = (counts.after[left][c] + k) / (counts.after[left].sum() + k * len(ids))
        return math.log(first) + math.log((counts.before[right][c] + k) / (counts.single[c] + k * len(ids)))

    expected = sorted(ids.tolist(), key=slow, reverse=True)[: cloze.TOP]
    assert [slow(c) for c in cloze.rank_by_bigrams(counts, left, right, ids).tolist()] == pytest.approx([slow(c) for c in expected])
    assert tokenizer.vocabulary[cloze.rank_by_bigrams(counts, left, right, ids)[0]] == "气"


def test_a_place_at_the_edge_is_ranked_by_its_one_neighbour_and_a_lonely_one_by_frequency(cloze, corpus, tokenizer):
    ids = candidates(tokenizer.vocabulary)
    items = [cloze.Item(text, "气", "x") for text in ("天[MASK]", "[MASK]真", "[MASK]")]
    left, right = cloze.neighbours(items, tokenizer)
    assert (left[1], left[2], right[0], right[2]) == (tokenizer.cls_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.sep_id)
    counts = cloze.count(corpus, left=left, right=right, vocabulary=len(tokenizer))
    best = [tokenizer.vocabulary[cloze.rank_by_bigrams(counts, a, b, ids)[0]] for a, b in zip(left, right, strict=True)]
    assert best[0] == best[1] == "气"
    assert best[2] == "天"


def test_rates_count_first_places_and_first_fives(cloze):
    items = [cloze.Item("[MASK]", answer, kind) for answer, kind in (("一", "a"), ("二", "a"), ("三", "b"), ("四", "b"))]
    row = cloze.score("x", items, [list("一二"), list("一二"), list("零一二四三"), list("零")])
    assert (row["top1"], row["top5"], row["top1_of"]) == (0.25, 0.75, {"a": 0.5, "b": 0.0})


def test_all_answer_from_the_same_candidates(cloze, corpus, tokenizer):
    ranked, tokens = cloze.answers_of_counts(cloze.read_items(), tokenizer, corpus)
    assert tokens == corpus.tokens
    allowed = {tokenizer.vocabulary[i] for i in candidates(tokenizer.vocabulary)}
    for rows in ranked.values():
        assert {len(row) for row in rows} == {cloze.TOP}
        assert {token for row in rows for token in row} <= allowed
