"""Whole words and pseudo-perplexity: against brute force over a tiny vocabulary, one text and one mask at a time."""

import itertools
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import nlphub as hub
from nlphub.cli.app import app
from nlphub.data.batching import pack
from nlphub.errors import InputError
from nlphub.nn import likelihood, whole_words
from nlphub.nn.encoder import Encoder, EncoderConfig, to_tensors
from nlphub.nn.heads import MaskedLMHead
from nlphub.nn.initialise import initialise
from nlphub.paths import bundle
from nlphub.tasks.fill_mask import candidates
from nlphub.text.encoding import Encoded
from nlphub.text.tokenizers import load_tokenizer

TEXTS = ["我要[MASK][MASK]这双鞋", "[MASK][MASK]好，[mask][MASK]！", "退[MASK]"]


@pytest.fixture(scope="module")
def tiny() -> Any:
    """A module of mlm with a dozen characters, far from uniform."""
    tokenizer = load_tokenizer(bundle() / "tokenizers" / "zh_char")
    special = tokenizer.vocabulary[: tokenizer.ordinary]
    tokenizer = tokenizer.restricted([*special, *"我要退这双鞋好天快递,!"])
    encoder = Encoder(EncoderConfig(vocab=len(tokenizer), layers=2, width=24, heads=3, inner=40, positions=64))
    head = MaskedLMHead(24, len(tokenizer))
    for seed, part in enumerate((encoder, head)):
        initialise(part, seed)
        with torch.no_grad():
            for parameter in part.parameters():
                parameter.mul_(8.0 if parameter.ndim > 1 else 1.0)
    head.attach(encoder)
    return SimpleNamespace(encoder=encoder.eval(), task_head=head.eval(), tokenizer=tokenizer, max_length=64)


def rows_of(module: Any, ids: list[int]) -> torch.Tensor:
    """The slow twin's network: one sequence at a time, all rows."""
    one = Encoded(
        np.array(ids), np.zeros(len(ids), np.int64), np.zeros((len(ids), 2), np.int64), np.array([0, len(ids)]), np.zeros(1, bool)
    )
    with torch.inference_mode():
        packed = to_tensors(pack(one, np.array([0])))
        return module.task_head(module.encoder(packed)).double()


def brute_force(module: Any, ids: list[int], places: list[int]) -> dict[str, float]:
    """Every word for the masks at ``places`` with its probability, filled from left to right."""
    able, found = candidates(module.tokenizer.vocabulary), {}
    for word in itertools.product(able.tolist(), repeat=len(places)):
        filled, total = list(ids), 0.0
        for place, entry in zip(places, word, strict=True):
            scores = rows_of(module, filled)[place][torch.from_numpy(able)].log_softmax(0)
            total += float(scores[able.tolist().index(entry)])
            filled[place] = entry
        found[module.tokenizer.decode(word)] = math.exp(total)
    return found


def ranked(scores: dict[str, float], most: int) -> list[tuple[str, float]]:
    return sorted(scores.items(), key=lambda one: -one[1])[:most]


def test_words_are_the_best_of_all_that_brute_force_finds(tiny: Any) -> None:
    (answer,) = hub.fill_words(tiny, TEXTS[0], top_k=8, beam=12)
    ids = tiny.tokenizer.encode_masked([TEXTS[0]]).ids.tolist()
    expected = ranked(brute_force(tiny, ids, [3, 4]), 8)
    assert [word for word, _ in answer.masks[0].top] == [word for word, _ in expected]
    assert [score for _, score in answer.masks[0].top] == pytest.approx([score for _, score in expected], rel=1e-5)
    assert answer.text == f"我要{expected[0][0]}这双鞋"
    assert (answer.masks[0].token, answer.masks[0].score, answer.masks[0].start) == (*answer.masks[0].top[0], 2)


def test_words_of_several_lengths_are_ranked_by_the_mean_of_their_tokens(tiny: Any) -> None:
    (answer,) = hub.fill_words(tiny, "退[MASK]", top_k=200, beam=200, lengths=(1, 2))
    found = brute_force(tiny, tiny.tokenizer.encode_masked(["退[MASK]"]).ids.tolist(), [2])
    found |= brute_force(tiny, tiny.tokenizer.encode_masked(["退[MASK][MASK]"]).ids.tolist(), [2, 3])
    assert len(found) > len(candidates(tiny.tokenizer.vocabulary))
    expected = sorted(found, key=lambda word: -math.log(found[word]) / len(word))
    assert [word for word, _ in answer.masks[0].top] == expected[:200]
    assert dict(answer.masks[0].top) == pytest.approx({word: found[word] for word in expected[:200]}, rel=1e-5)


def test_gaps_are_filled_apart_and_texts_do_not_matter_to_each_other(tiny: Any) -> None:
    together, alone = hub.fill_words(tiny, TEXTS, top_k=3), [hub.fill_words(tiny, text, top_k=3)[0] for text in TEXTS]
    for one, other in zip(together, alone, strict=True):
        assert one.text == other.text
        for a, b in zip(one.masks, other.masks, strict=True):
            assert (a.start, [word for word, _ in a.top]) == (b.start, [word for word, _ in b.top])
    first, second = together[1].masks
    assert (first.start, second.start) == (0, 14)
    assert together[1].text == f"{first.token}好，{second.token}！"
    ids = tiny.tokenizer.encode_masked([TEXTS[1]]).ids.tolist()
    assert first.score == pytest.approx(max(brute_force(tiny, ids, [1, 2]).values()), rel=1e-5)


def test_a_narrow_beam_gives_words_with_their_own_probabilities_and_many_gaps_are_cut_into_parts(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = dict(hub.fill_words(tiny, TEXTS[0], top_k=144, beam=144)[0].masks[0].top)
    narrow = hub.fill_words(tiny, TEXTS[0], top_k=2, beam=2)[0].masks[0].top
    assert {word: wide[word] for word, _ in narrow} == pytest.approx(dict(narrow), rel=1e-5)
    before = hub.fill_words(tiny, TEXTS * 3)
    monkeypatch.setattr(whole_words, "_ROWS", 16)
    assert [answer.text for answer in hub.fill_words(tiny, TEXTS * 3)] == [answer.text for answer in before]


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"top_k": 0}, "top_k=0"), ({"beam": True}, "beam=True"), ({"lengths": (1, 0)}, "lengths=0"), ({"lengths": ()}, "empty")],
)
def test_numbers_that_cannot_be_are_refused(tiny: Any, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        hub.fill_words(tiny, TEXTS, **changes)


def test_texts_that_cannot_be_filled_are_all_named(tiny: Any) -> None:
    with pytest.raises(InputError) as caught:
        hub.fill_words(tiny, ["好", TEXTS[0], "好" * 70 + "[MASK]"])
    assert [problem.split(" ")[0] for problem in caught.value.problems] == ["texts[0]", "texts[2]"]
    with pytest.raises(InputError, match="cannot be filled"):
        hub.fill_words(tiny, "好" * 60 + "[MASK]", lengths=(1, 4))
    assert hub.fill_words(tiny, []) == []


def slow_score(module: Any, text: str) -> float:
    """One token after another."""
    ids, total = module.tokenizer.encode([text]).ids.tolist(), 0.0
    for place in range(1, len(ids) - 1):
        masked = [*ids]
        masked[place] = module.tokenizer.mask_id
        total += float(rows_of(module, masked)[place].log_softmax(0)[ids[place]])
    return total


def test_pseudo_likelihoods_are_those_of_one_token_after_another(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["我要退这双鞋", "好", "天天好，快递！", "退 鞋"]
    monkeypatch.setattr(likelihood, "_TOKENS", 20)
    for text, score in zip(texts, hub.score_sentences(tiny, texts), strict=True):
        expected, length = slow_score(tiny, text), len(text.replace(" ", ""))
        assert score.log_likelihood == pytest.approx(expected, rel=1e-5)
        assert (score.tokens, score.unknown) == (length, 0)
        assert score.perplexity == pytest.approx(math.exp(-expected / length), rel=1e-5)
        assert set(score.as_dict()) == {"perplexity", "log_likelihood", "tokens", "unknown"}


def test_unknown_characters_are_counted_and_not_scored(tiny: Any) -> None:
    known, mixed = hub.score_sentences(tiny, ["我要退", "我要龘退"])
    assert (known.unknown, mixed.unknown, mixed.tokens) == (0, 1, 3)
    assert mixed.log_likelihood != known.log_likelihood, "it stands there all the same"


def test_long_texts_are_scored_to_their_end_in_windows(tiny: Any) -> None:
    text = "我要退这双鞋，快递好！" * 12
    (score,) = hub.score_sentences(tiny, text)
    assert score.tokens == len(text) > tiny.max_length
    (other,) = hub.score_sentences(tiny, text, stride=10)
    assert other.tokens == len(text)
    assert score.perplexity == pytest.approx(other.perplexity, rel=0.2)


def test_texts_without_a_known_character_are_all_named_and_no_texts_have_no_scores(tiny: Any) -> None:
    with pytest.raises(InputError) as caught:
        hub.score_sentences(tiny, ["", "好", "龘"])
    assert [problem[:8] for problem in caught.value.problems] == ["texts[0]", "texts[2]"]
    with pytest.raises(InputError, match="stride=0"):
        hub.score_sentences(tiny, "好", stride=0)
    assert hub.score_sentences(tiny, []) == []


def test_a_module_of_another_task_is_refused(small_folder: Path) -> None:
    module = hub.Module(directory=small_folder, task="seq-cls", labels=["a", "b"])
    for ask in (hub.fill_words, hub.score_sentences):
        with pytest.raises(InputError, match="'seq-cls' knows no words"):
            ask(module, "好[MASK]")


def test_the_command_line_fills_words_and_scores_sentences(small_folder: Path, tmp_path: Path) -> None:
    module = hub.Module(directory=small_folder, task="mlm")
    module.trained = True
    module.save(tmp_path / "saved")

    def said(*words: str) -> dict[str, Any]:
        result = CliRunner().invoke(app, ["predict", str(tmp_path / "saved"), *words])
        assert result.exit_code == 0, result.output
        answer: dict[str, Any] = json.loads(result.stdout)
        return answer

    (mask,) = said("我要[MASK][MASK]", "--words", "--top", "2")["masks"]
    assert [len(word) for word, _ in mask["top"]] == [2, 2]
    assert said("我要退货", "--perplexity")["tokens"] == 4
    failed = CliRunner().invoke(app, ["predict", str(tmp_path / "saved"), "好[MASK]", "--words", "--perplexity"])
    assert "not both" in str(failed.exception)
