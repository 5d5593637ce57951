"""A smaller vocabulary: the same logits to the bit on the texts that decided it, a true count of what is lost elsewhere, right files."""

from pathlib import Path

import numpy as np
import pytest

import nlphub as hub
from nlphub.compress.shrink import Words, shrink
from nlphub.compress.vocabulary import common_characters, coverage, estimated_loss, needed_entries, restrict_vocabulary
from nlphub.errors import InputError
from nlphub.text.manifest import SPECIAL
from nlphub.text.tokenizers import load_tokenizer
from nlphub.text.wordpiece import WordPieceTokenizer

TEXTS = ["请问还剩多少钱", "Ａ卡丢了？", "怎麼匯款 ABC12", "", "喂龘"]


def test_logits_are_equal_to_the_bit_on_the_texts_that_decided(module: hub.Module, tmp_path: Path) -> None:
    made = shrink(module, words=Words(tuple(TEXTS)))
    assert made.exact
    assert made.entries == (8192, made.module.encoder.config.vocab)
    assert made.module.encoder.config.vocab < 150
    assert np.array_equal(made.module.logits(TEXTS), module.logits(TEXTS))
    made.module.save(tmp_path / "small")
    again = hub.Module(directory=tmp_path / "small")
    assert np.array_equal(again.logits(TEXTS), module.logits(TEXTS))
    assert again.calibration == module.calibration
    assert again.config["smaller"][0]["entries"] == list(made.entries)


def test_the_source_stays_as_it_is(module: hub.Module) -> None:
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    made = shrink(module, words=Words(("卡",)))
    for parameter in made.module.parameters():
        parameter.data.zero_()
    assert all((tensor == before[name]).all() for name, tensor in module.state_dict().items())
    assert "smaller" not in module.config
    assert len(module.tokenizer) == 8192


def test_special_entries_folds_and_what_is_always_kept_stay_right(module: hub.Module, tmp_path: Path) -> None:
    small = shrink(module, words=Words(("开户",), common=50)).module
    small.save(tmp_path / "small")
    tokenizer = load_tokenizer(tmp_path / "small")
    assert set(SPECIAL.values()) <= set(tokenizer.vocabulary)
    assert not [entry for entry in tokenizer.vocabulary if entry.startswith("[unused")]
    assert set(common_characters(50)) <= set(tokenizer.vocabulary)
    same = tokenizer.encode(["開戶ABC１２", "开户abc12"]).lists()
    assert same[0] == same[1]
    assert tokenizer.unknown_id not in same[0], "Latin letters, digits and traditional forms are folded to what is there"
    assert tokenizer.encode(["龘"]).lists()[0][1] == tokenizer.unknown_id
    without = shrink(module, words=Words(("开户",), basics=False)).module
    assert len(without.tokenizer) == len(SPECIAL) + 2


def test_what_other_texts_lose_is_counted_in_characters(module: hub.Module) -> None:
    small = shrink(module, words=Words(("卡丢了",))).module
    found = coverage(module, small, ["卡没丢", "龘卡"])
    assert (found.characters, found.unknown, found.before) == (5, 2, 1)
    assert found.lost == pytest.approx(0.2)


def test_the_expected_loss_is_that_of_each_tenth_by_the_other_nine(module: hub.Module) -> None:
    texts = [*(f"卡{character}" for character in "丢没在坏新旧红绿"), "卡", "卡卡"]
    assert estimated_loss(module, texts) == pytest.approx(8 / 19), "eight characters stand in one text alone"
    assert estimated_loss(module, ["卡", "卡"]) != estimated_loss(module, ["卡", "卡丢"]), "equal texts say nothing about one another"
    assert np.isnan(estimated_loss(module, ["卡"]))


def test_a_text_that_is_cut_keeps_the_characters_behind_its_end(module: hub.Module) -> None:
    kept = needed_entries(module, ["卡" * 600 + "丢"])
    assert module.tokenizer.vocabulary.index("丢") in kept


def test_a_masked_language_head_is_cut_with_it(taught_folder: Path) -> None:
    module = hub.Module(directory=taught_folder, task="mlm")
    small = shrink(module, words=Words(tuple(TEXTS))).module
    kept = [module.tokenizer.vocabulary.index(entry) for entry in small.tokenizer.vocabulary]
    asked = ["卡[MASK]了"]
    np.testing.assert_allclose(small.logits(asked), module.logits(asked)[:, kept], atol=1e-5)
    assert small.labels == small.tokenizer.vocabulary
    assert set(small.predict(asked)[0].masks[0].token) <= set(small.tokenizer.vocabulary)


def test_prototypes_keep_their_n_grams(taught_folder: Path, rows: list[tuple[str, str]], tmp_path: Path) -> None:
    module = hub.Module(directory=taught_folder, task="seq-cls", labels=["余额", "转账", "挂失"], seed=1)
    hub.Trainer(module, settings=hub.TrainSettings(method="prototype"), progress=False).train(rows)
    small = shrink(module, words=Words(("你好",))).module
    texts = [text for text, _ in rows]
    assert np.array_equal(small.logits(texts), module.logits(texts))
    small.save(tmp_path / "small")
    assert np.array_equal(hub.Module(directory=tmp_path / "small").logits(texts), module.logits(texts))
    small.add_label("贷款", ["提前还房贷", "贷款利率"])
    assert small.predict(["提前还房贷"])[0].label == "贷款"
    with pytest.raises(InputError, match="the head holds"):
        restrict_vocabulary(module, np.arange(10))


def test_word_pieces_fall_into_the_same_pieces_and_unknown_words_stay_unknown() -> None:
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ab", "a", "##bx", "##x", "##c", "b", "卡", "abc", "z"]
    tokenizer = WordPieceTokenizer(entries)
    texts = ["abx abc 卡", "abq"]

    class Holder:
        head, max_length = None, 512

        def __init__(self) -> None:
            self.tokenizer = tokenizer

    kept = needed_entries(Holder(), texts, basics=False)
    small = tokenizer.restricted([entries[number] for number in kept])
    assert [small.vocabulary[i] for row in small.encode(texts).lists() for i in row] == [
        entries[i] for row in tokenizer.encode(texts).lists() for i in row
    ]
    assert "z" not in small.vocabulary


def test_bad_vocabularies_are_refused(module: hub.Module) -> None:
    for kept in (np.array([3, 2]), np.array([0, 99_999]), np.zeros(0, np.int64)):
        with pytest.raises(InputError, match="ascending ids"):
            restrict_vocabulary(module, kept)
