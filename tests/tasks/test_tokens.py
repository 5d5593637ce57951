"""``token-cls`` between texts and logits: targets, decoding against a slow twin, offsets in the caller's own text."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from nlphub.calibration import Calibration
from nlphub.data.examples import Example, Examples
from nlphub.data.spans import Span
from nlphub.errors import InputError
from nlphub.tasks import TASKS, outputs_of
from nlphub.tasks.base import IGNORED
from nlphub.tasks.tokens import TokenTask, best_tags, decoding_problems
from nlphub.text.tokenizers import load_tokenizer

TOKENIZER = load_tokenizer(Path(__file__).parents[2] / "tokenizers" / "zh_char")
TASK, LABELS = TokenTask(), ("PER", "LOC")
HARD = ["張三丰在  ＢＥＩＪＩＮＧ", "张\u200b三 去了\u3000北\u00a0京。", "𠮷野家，ＡＢＣ", "", "\u200b", "e\u0301 张三"]


def answers(texts: list[str], tags: list[int] | np.ndarray, *, max_length: int = 512, threshold: float = 0.0, stride: int | None = None):
    """What is decoded when the head is sure of these tags (special tokens included)."""
    task = TokenTask(stride=stride)
    inputs = task.read(texts, TOKENIZER, max_length=max_length)
    logits = np.zeros((len(inputs.encoded.ids), 5), np.float32)
    logits[np.arange(len(logits)), tags] = 9.0
    return task.decode(logits, inputs, LABELS, top_k=1, calibration=Calibration(threshold=threshold))


@pytest.mark.parametrize("seed", range(20))
def test_decoding_finds_the_best_of_all_tags_in_order(seed: int) -> None:
    generator = np.random.default_rng(seed)
    lengths = generator.integers(0, 5, size=4)
    scores = np.log(generator.dirichlet(np.ones(5), size=int(lengths.sum())))
    found = best_tags(scores, lengths)
    for first, length in zip(np.cumsum(lengths) - lengths, lengths, strict=True):
        rows = scores[first : first + length]
        best = max(filter(_in_order, itertools.product(range(5), repeat=int(length))), key=lambda tags: _total(rows, tags))
        assert _total(rows, found[first : first + length]) == pytest.approx(_total(rows, best), abs=1e-12)
        assert _in_order(found[first : first + length])


@pytest.mark.parametrize("seed", range(5))
def test_every_span_is_the_slice_of_the_callers_own_text(seed: int) -> None:
    tokens = len(TASK.read(HARD, TOKENIZER, max_length=512).encoded.ids)
    given = np.random.default_rng(seed).integers(0, 5, tokens)
    predictions = answers(HARD, given)
    assert len(predictions) == len(HARD)
    for text, answer in zip(HARD, predictions, strict=True):
        assert all(span.text == text[span.start : span.end] != "" for span in answer.spans)
        assert all(before.end <= after.start for before, after in itertools.pairwise(answer.spans))
    assert any(answer.spans for answer in predictions)


def test_offsets_count_full_width_traditional_and_invisible_characters() -> None:
    text = "張\u200b三 在ＢＪ"
    (answer,) = answers([text], [0, 1, 2, 0, 3, 4, 0])
    assert [(span.start, span.end, span.label, span.text) for span in answer.spans] == [(0, 3, "PER", "張\u200b三"), (5, 7, "LOC", "ＢＪ")]
    assert all(0.99 < span.score <= 1 for span in answer.spans)


def test_targets_decode_to_the_spans_they_were_made_of() -> None:
    examples = Examples(
        [
            Example("张三去北京", spans=(Span(0, 2, "PER"), Span(3, 5, "LOC"))),
            Example("张三李四", spans=(Span(0, 2, "PER"), Span(2, 4, "PER"))),
            Example("張\u200b三 在ＢＪ！", spans=(Span(0, 3, "PER"), Span(5, 7, "LOC"))),
            Example("没有", spans=()),
        ]
    )
    encoded = TOKENIZER.encode(examples.texts)
    targets = TASK.targets(examples, encoded, LABELS)
    special = encoded.offsets[:, 1] == encoded.offsets[:, 0]
    assert (targets[special] == IGNORED).all()
    assert targets[~special].tolist()[:9] == [1, 2, 0, 3, 4, 1, 2, 1, 2]
    predictions = answers(examples.texts, np.where(special, 3, targets))
    assert TASK.judge(examples, predictions, LABELS).f1 == 1.0, "and what the head says of special tokens does not count"


def test_a_text_in_windows_has_the_spans_of_the_whole_text() -> None:
    text = "在北京的张三和李四去了上海，" * 9
    spans = tuple(Span(14 * n + a, 14 * n + b, label) for n in range(9) for a, b, label in ((1, 3, "LOC"), (4, 6, "PER"), (7, 9, "PER")))
    examples = Examples([Example("张三", spans=(Span(0, 2, "PER"),)), Example(text, spans=spans)])
    whole = TASK.targets(examples, TOKENIZER.encode(examples.texts), LABELS)
    for stride in (None, 1, 4, 9):
        inputs = TokenTask(stride=stride).read(examples.texts, TOKENIZER, max_length=11)
        tags = np.full(len(inputs.encoded.ids), 3)  # what windows say of tokens that they do not own does not count
        tags[inputs.windows.rows] = whole[whole != IGNORED]
        predictions = answers(examples.texts, tags, max_length=11, stride=stride)
        assert TASK.judge(examples, predictions, LABELS).f1 == 1.0
        assert not any(answer.truncated for answer in predictions)


def test_what_lies_behind_the_cut_is_not_found_and_the_cut_is_told() -> None:
    examples = Examples([Example("在北京的张三", spans=(Span(1, 3, "LOC"), Span(4, 6, "PER")))])
    encoded = TOKENIZER.encode(examples.texts, max_length=5)
    targets = TASK.targets(examples, encoded, LABELS)
    assert targets.tolist() == [IGNORED, 0, 3, 4, IGNORED]
    predictions = answers(examples.texts, np.maximum(targets, 0), max_length=5, stride=0)
    assert predictions[0].truncated
    assert TASK.judge(examples, predictions, LABELS).recall == 0.5


def test_spans_below_the_threshold_are_left_out() -> None:
    assert answers(["张三"], [0, 1, 2, 0], threshold=0.99)[0].spans
    assert not answers(["张三"], [0, 1, 2, 0], threshold=0.9999)[0].spans


def test_outputs_are_tags_and_labels_are_not() -> None:
    assert TASK.outputs(LABELS) == ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
    assert TASK.outputs(["x"]) == ("O", "B-x", "I-x")
    for tags in (["O", "B-PER", "I-PER"], ["B-PER", "I-PER"]):
        with pytest.raises(InputError, match="types of spans"):
            TASK.outputs(tags)
    with pytest.raises(InputError, match="at least one label"):
        TASK.outputs([])


def test_facts_about_decoding_that_somebody_changed_are_seen() -> None:
    facts = {"pairs": [[0.0] * 5] * 5, "first": [0] * 5, "last": [0.5] * 5}
    assert not list(decoding_problems("token-cls", "crf", facts, list(LABELS)))
    assert not list(decoding_problems("seq-cls", None, {}, ["x"]))
    for changed in ({"pairs": [[0.0] * 5] * 4}, {"first": ["x"] * 5}, {"last": None}, {"last": [float("inf")] * 5}):
        (problem,) = decoding_problems("token-cls", "crf", {**facts, **changed}, list(LABELS))
        assert problem.startswith(f"decoding.{next(iter(changed))}: expected 5"), problem
    assert list(decoding_problems("token-cls", 3, [], list(LABELS)))


def test_a_pair_is_no_text_to_find_spans_in() -> None:
    with pytest.raises(InputError, match="not strings"):
        TASK.read([("一", "二")], TOKENIZER, max_length=8)


def test_every_head_of_the_shipped_module_has_its_task_with_the_same_rows() -> None:
    from nlphub.hub import zoo

    for name, head in zoo.load("ernie_tiny").heads.items():
        assert (TASKS[name].name, TASKS[name].rows) == (head.task, head.rows)
    assert outputs_of("a-task-of-my-own", ["x", "y"]) == ("x", "y")


def _total(rows: np.ndarray, tags) -> float:
    return float(sum(row[tag] for row, tag in zip(rows, tags, strict=True)))


def _in_order(tags) -> bool:
    return all(tag == 0 or tag % 2 or before in (tag - 1, tag) for before, tag in itertools.pairwise([0, *tags]))
