"""The heads of token-cls, linear, CRF and pointer, end to end: learning, exact resume, saving, exporting, long texts."""

from pathlib import Path

import numpy as np
import pytest

import nlphub as hub
from nlphub.checkpoints.native import weights_digest
from nlphub.errors import InputError, NlphubError, WeightsError
from nlphub.training.loop import Loop

VARIANTS = ("linear", "crf", "pointer")
FAST = hub.TrainSettings(epochs=14, batch_size=8, learning_rate=5e-3, dropout=0.0)
ROWS = [
    {"text": f"{opening}{name}在{place}", "spans": [(len(opening), len(opening) + 2, "人"), (len(opening) + 3, len(opening) + 5, "地")]}
    for opening in ("", "听说", "昨天　")
    for name in ("张三", "李四", "王五")
    for place in ("北京", "上海")
]
NESTED = [
    {"text": f"{before}{place}大学", "spans": [(len(before), len(before) + 2, "地"), (len(before), len(before) + 4, "校")]}
    for before in ("", "我在", "想考")
    for place in ("北京", "上海", "四川")
]
LONG = "听说 張三在\u200b北京，" * 90


@pytest.fixture(scope="module", params=VARIANTS)
def trained(request: pytest.FixtureRequest, small_folder: Path) -> hub.Module:
    module = hub.Module(directory=small_folder, task="token-cls", labels=["人", "地"], variant=request.param)
    assert hub.Trainer(module, settings=FAST).train(ROWS, eval_dataset=ROWS).metrics.f1 > 0.95
    return module


def test_spans_are_slices_of_texts_of_any_length(trained: hub.Module) -> None:
    (short, long) = trained.predict(["听说 張三在\u200b北京", LONG])
    assert [(span.label, span.text) for span in short.spans] == [("人", "張三"), ("地", "北京")]
    assert not long.truncated
    assert all(span.text == LONG[span.start : span.end] for span in long.spans)
    assert max(span.end for span in long.spans) > 700, "behind what one window reads"
    (cut,) = trained.predict([LONG], stride=0)
    assert cut.truncated
    assert max(span.end for span in cut.spans) < 700


def test_saved_and_exported_modules_answer_alike(trained: hub.Module, tmp_path: Path) -> None:
    asked = [row["text"] for row in ROWS] + ["", "\u200b", LONG, "王五在上海" * 200]
    trained.save(tmp_path / "saved")
    trained.export(tmp_path / "exported")
    again, predictor = hub.Module(directory=tmp_path / "saved"), hub.Predictor(tmp_path / "exported")
    assert weights_digest(again.encoder, again.head) == weights_digest(trained.encoder, trained.head)
    assert again.predict(asked) == trained.predict(asked)
    np.testing.assert_allclose(predictor.logits(asked, batch_tokens=2000), trained.logits(asked), atol=1e-5)
    for stride in (None, 100):
        for here, there in zip(trained.predict(asked, stride=stride), predictor(asked, stride=stride), strict=True):
            assert [(span.start, span.end, span.label) for span in here.spans] == [
                (span.start, span.end, span.label) for span in there.spans
            ]
            np.testing.assert_allclose([span.score for span in here.spans], [span.score for span in there.spans], atol=1e-5)


def test_a_crf_learns_which_tags_follow_which(small_folder: Path) -> None:
    module = hub.Module(directory=small_folder, task="token-cls", labels=["人", "地"], variant="crf")
    hub.Trainer(module, settings=FAST).train(ROWS)
    pairs = np.array(module.task_head.decoding["pairs"])
    assert pairs[1, 2] > pairs[1, 1], "names have two characters: B-x is followed by I-x"


def test_nested_spans_are_learnt_by_the_pointer_only(small_folder: Path) -> None:
    module = hub.Module(directory=small_folder, task="token-cls", labels=["地", "校"], variant="pointer")
    hub.Trainer(module, settings=FAST.model_copy(update={"epochs": 40})).train(NESTED)
    (answer,) = module.predict("我在四川大学")
    assert [(span.label, span.text) for span in answer.spans] == [("地", "四川"), ("校", "四川大学")]
    for variant in ("linear", "crf"):
        other = hub.Module(directory=small_folder, task="token-cls", labels=["地", "校"], variant=variant)
        with pytest.raises(NlphubError, match="overlap") as caught:
            hub.Trainer(other).train(NESTED)
        assert len(caught.value.problems) == len(NESTED)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_resumed_training_ends_with_the_same_bits(variant: str, small_folder: Path, tmp_path: Path) -> None:
    settings = FAST.model_copy(update={"epochs": 2, "dropout": 0.1})
    made = {"directory": small_folder, "task": "token-cls", "labels": ["人", "地"], "variant": variant}
    straight = hub.Module(**made)
    hub.Trainer(straight, settings=settings).train(ROWS)
    half = hub.Trainer(hub.Module(**made), settings=settings, checkpoint_dir=tmp_path)
    keep = half.keeper.keep_last

    def keep_once(*arguments):
        keep(*arguments)
        raise KeyboardInterrupt

    half.keeper.keep_last = keep_once
    with pytest.raises(KeyboardInterrupt):
        half.train(ROWS)
    resumed = hub.Module(**made)
    hub.Trainer(resumed, settings=settings, checkpoint_dir=tmp_path).train(ROWS, resume=True)
    assert weights_digest(resumed.encoder, resumed.head) == weights_digest(straight.encoder, straight.head)


@pytest.mark.parametrize("variant", VARIANTS)
def test_how_a_batch_is_cut_into_parts_changes_nothing_but_rounding(variant: str, small_folder: Path) -> None:
    def first_loss(**changes: int) -> float:
        module = hub.Module(directory=small_folder, task="token-cls", labels=["人", "地"], variant=variant)
        settings = FAST.model_copy(update={"dropout": 0.1, **changes})
        return next(hub.Trainer(module, settings=settings).steps(ROWS)).loss

    assert first_loss(max_tokens=24) == pytest.approx(first_loss(), rel=1e-4)


@pytest.mark.parametrize("variant", ["crf", "pointer"])
def test_options_of_losses_of_single_tokens_are_refused_before_training(variant: str, small_folder: Path) -> None:
    module = hub.Module(directory=small_folder, task="token-cls", labels=["人", "地"], variant=variant)
    settings = hub.TrainSettings(r_drop=1.0, focal=2.0, label_smoothing=0.1, class_weights="balanced")
    with pytest.raises(InputError) as caught:
        hub.Trainer(module, settings=settings).train(ROWS)
    assert len([problem for problem in caught.value.problems if "single tokens" in problem]) == 4


def test_a_module_of_another_variant_does_not_take_the_weights(small_folder: Path, tmp_path: Path) -> None:
    made = {"task": "token-cls", "labels": ["人", "地"]}
    module = hub.Module(directory=small_folder, variant="crf", **made)
    module.save(tmp_path / "crf")
    with pytest.raises(WeightsError, match="variant"):
        hub.Module(directory=small_folder, variant="pointer", load_checkpoint=tmp_path / "crf", **made)
    with pytest.raises(InputError, match="none of task 'token-cls'"):
        hub.Module(directory=small_folder, variant="cfr", **made)


def test_the_pointers_targets_are_texts(small_folder: Path) -> None:
    module = hub.Module(directory=small_folder, task="token-cls", labels=["人", "地"], variant="pointer")
    loop = Loop(module, hub.Trainer(module)._optimizer(), hub.TrainSettings(), hub.Examples.of(ROWS))
    whole, codes = loop.targets
    assert (len(whole), len(codes)) == (len(ROWS), len(loop.encoded.ids))


def test_training_texts_that_are_longer_than_the_module_reads_are_cut_with_a_warning(
    small_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    module = hub.Module(directory=small_folder, task="token-cls", labels=["人", "地"], variant="pointer", max_length=6)
    hub.Trainer(module, settings=FAST.model_copy(update={"epochs": 1})).train(ROWS)
    assert "their ends are not read" in caplog.text
