"""Fill-mask: one answer for each [MASK], never a special entry, every text without one named."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import nlphub as hub
from nlphub.calibration import Calibration
from nlphub.data.batching import pack
from nlphub.errors import ExportError, InputError
from nlphub.nn.encoder import to_tensors
from nlphub.tasks.fill_mask import FillMaskTask, candidates


@pytest.fixture(scope="module")
def module(small_folder: Path) -> hub.Module:
    """A network far from uniform, so that ranks are clear."""
    made = hub.Module(directory=small_folder, task="mlm")
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(6.0 if parameter.ndim > 1 else 1.0)
    made.trained = True
    return made


def logits_of(module: hub.Module, text: str) -> np.ndarray:
    """The slow obvious twin: all rows of one text, through the network alone."""
    encoded = module.tokenizer.encode_masked([text])
    with torch.inference_mode():
        rows = module(to_tensors(pack(encoded, np.array([0]))))
    return rows[torch.from_numpy(encoded.ids == module.tokenizer.mask_id)].numpy()


def test_each_mask_of_each_text_gets_its_ranked_candidates(module):
    texts = ["今天天[MASK]真好", "我[MASK]退[mask]双鞋", "[MASK]" * 3 + "快递" * 40]
    answers = module.predict(texts, top_k=4)
    assert [len(answer.masks) for answer in answers] == [1, 2, 3]
    assert [mask.start for mask in answers[1].masks] == [1, 8]
    for text, answer in zip(texts, answers, strict=True):
        for mask, row in zip(answer.masks, logits_of(module, text), strict=True):
            ids = candidates(module.labels)
            scores = torch.from_numpy(row[ids]).double().softmax(0)
            expected = scores.topk(4)
            assert [token for token, _ in mask.top] == [module.labels[ids[place]] for place in expected.indices.tolist()]
            assert [score for _, score in mask.top] == pytest.approx(expected.values.tolist(), abs=1e-5)
            assert (mask.token, mask.score) == mask.top[0]


def test_the_filled_text_keeps_everything_else_as_it_was_written(module):
    (answer,) = module.predict("Ａ 體 [MASK]，[mask]！")
    first, second = (mask.token for mask in answer.masks)
    assert answer.text == f"Ａ 體 {first}，{second}！"
    assert str(answer).splitlines()[0] == answer.text
    assert len(str(answer).splitlines()) == 3
    assert first in str(answer).splitlines()[1]


def test_special_and_unused_entries_are_never_candidates(module):
    bias = module.head.bias
    special = [number for number, entry in enumerate(module.labels) if len(entry) > 1]
    with torch.no_grad():
        before = bias[special].clone()
        bias[special] = 1e4
    try:
        (answer,) = module.predict("今天天[MASK]真好", top_k=9000)
    finally:
        with torch.no_grad():
            bias[special] = before
    tokens = [token for token, _ in answer.masks[0].top]
    assert len(tokens) == len(module.labels) - len(special)
    assert all(len(token) == 1 for token in tokens)
    assert sum(score for _, score in answer.masks[0].top) == pytest.approx(1)


def test_bracketed_text_in_a_vocabulary_of_subwords_is_told_from_special_entries():
    assert candidates(["[PAD]", "[unused12]", "[", "]", "##好", "a]", "[a", "[MASK]", "好"]).tolist() == [2, 3, 4, 5, 6, 8]


def test_texts_without_a_mask_are_all_named(module):
    with pytest.raises(InputError) as caught:
        module.predict(["好", "[MASK]好", "MASK", "好" * 600 + "[MASK]"])
    assert [problem.split(" ")[0] for problem in caught.value.problems] == ["texts[0]", "texts[2]", "texts[3]"]
    assert "3 of 4 texts" in str(caught.value)
    assert "1 of its 1 [MASK] behind the 512 tokens" in caught.value.problems[2]


@pytest.mark.parametrize("texts", [7, [None], [("a", "b")]], ids=str)
def test_what_is_no_text_is_refused(module, texts):
    with pytest.raises(InputError):
        module.predict(texts)


def test_nothing_asked_is_nothing_answered(module):
    assert module.predict([]) == []
    with pytest.raises(InputError, match="top_k"):
        module.predict("[MASK]", top_k=0)


def test_equal_scores_keep_the_order_of_the_vocabulary(module):
    task = FillMaskTask()
    inputs = task.read("一[MASK]", module.tokenizer, max_length=16)
    (answer,) = task.decode(np.zeros((1, len(module.labels)), np.float32), inputs, module.labels, top_k=3, calibration=Calibration())
    assert [token for token, _ in answer.masks[0].top] == [module.labels[number] for number in candidates(module.labels)[:3]]


def test_the_command_line_fills_masks_of_a_saved_module(module, tmp_path):
    from nlphub.cli.app import app

    module.save(tmp_path / "saved")
    result = CliRunner().invoke(app, ["predict", str(tmp_path / "saved"), "今天天[MASK]真好", "--top", "2"])
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    (mask,) = answer["masks"]
    assert answer["filled"] == f"今天天{mask['token']}真好"
    assert len(mask["top"]) == 2


def test_fill_mask_is_not_exported_and_says_so(module, tmp_path):
    with pytest.raises(ExportError, match="'mlm' has no export yet"):
        module.export(tmp_path / "artefact")
    assert not (tmp_path / "artefact").exists()


def test_the_room_loads_no_torch():
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-c", "import sys, nlphub.tasks.fill_mask; print('torch' in sys.modules)"], capture_output=True, text=True
    )
    assert done.stdout == "False\n"
