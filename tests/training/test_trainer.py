"""The Trainer: PaddleHub's words, early stopping, accumulation, best weights, exact resume."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import nlphub as hub
from nlphub.checkpoints.native import weights_digest
from nlphub.errors import InputError
from nlphub.recipe import TrainSettings

FAST = TrainSettings(epochs=3, batch_size=8, learning_rate=3e-3, dropout=0.1)


def digest(module: hub.Module) -> str:
    return weights_digest(module.encoder, module.head)


def test_the_four_lines_of_paddlehub_run_as_their_users_wrote_them(small_folder: Path, examples: hub.Examples, tmp_path: Path) -> None:
    module = hub.Module(directory=small_folder)
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3)
    trainer = hub.Trainer(module, optimizer, checkpoint_dir=tmp_path / "run")
    report = trainer.finetune_and_eval(examples, examples)
    assert report.metrics is not None
    assert report.metrics.accuracy > 0.5, "chance is one third"
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert held == {id(parameter) for parameter in module.parameters()}, "the head made at the first fit joins the optimizer"
    assert all(group["lr"] == 3e-3 for group in optimizer.param_groups), "an optimizer of the caller keeps its rate"
    assert (tmp_path / "run" / "best" / "model.safetensors").is_file()


def test_an_optimizer_of_another_module_is_refused(small_folder: Path, examples: hub.Examples) -> None:
    one, other = (hub.Module(directory=small_folder) for _ in range(2))
    with pytest.raises(hub.NlphubError, match="no parameter of this module"):
        hub.Trainer(one, torch.optim.AdamW(other.parameters())).train(examples)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize(
    "asked", [{"use_gpu": True}, {"settings": TrainSettings(device="cuda")}], ids=["use_gpu=True", "train.device=cuda"]
)
def test_a_gpu_that_is_not_there_is_an_error_that_names_what_asked_for_it(
    small_folder: Path, asked: dict[str, object], request: pytest.FixtureRequest
) -> None:
    with pytest.raises(InputError, match=f"^{request.node.callspec.id}, but torch sees no GPU here"):
        hub.Trainer(hub.Module(directory=small_folder), **asked)


def test_training_twice_gives_the_same_weights(small_folder: Path, examples: hub.Examples) -> None:
    first, second = (hub.Module(directory=small_folder) for _ in range(2))
    hub.Trainer(first, settings=FAST).train(examples, eval_dataset=examples)
    torch.manual_seed(999)  # no global generator takes part
    hub.Trainer(second, settings=FAST).train(examples, eval_dataset=examples)
    assert digest(first) == digest(second)


def test_another_seed_gives_other_weights(small_folder: Path, examples: hub.Examples) -> None:
    first, second = (hub.Module(directory=small_folder) for _ in range(2))
    hub.Trainer(first, settings=FAST).train(examples)
    hub.Trainer(second, settings=FAST.model_copy(update={"seed": 1})).train(examples)
    assert digest(first) != digest(second)


@pytest.mark.parametrize("change", [{"batch_size": 4, "accumulation": 2}, {"max_tokens": 24}], ids=["accumulation", "token budget"])
def test_cutting_a_batch_into_parts_changes_nothing_but_rounding(
    change: dict[str, int], small_folder: Path, examples: hub.Examples
) -> None:
    whole, parts = (hub.Module(directory=small_folder) for _ in range(2))
    one_epoch = FAST.model_copy(update={"epochs": 1})
    losses = [step.loss for step in hub.Trainer(whole, settings=one_epoch).steps(examples)]
    again = [step.loss for step in hub.Trainer(parts, settings=one_epoch.model_copy(update=change)).steps(examples)]
    np.testing.assert_allclose(losses, again, rtol=1e-4)


def test_a_resumed_training_ends_with_the_same_bits(small_folder: Path, examples: hub.Examples, tmp_path: Path) -> None:
    straight = hub.Module(directory=small_folder)
    hub.Trainer(straight, settings=FAST, checkpoint_dir=tmp_path / "straight").train(examples, eval_dataset=examples)
    interrupted = hub.Trainer(hub.Module(directory=small_folder), settings=FAST, checkpoint_dir=tmp_path / "resumed")
    interrupted.keeper.keep_last = _raise_at_second_call(interrupted.keeper.keep_last)
    with pytest.raises(KeyboardInterrupt):
        interrupted.train(examples, eval_dataset=examples)
    with (tmp_path / "resumed" / "metrics.jsonl").open("a") as log:
        log.write('{"step": 99, "torn')
    resumed = hub.Module(directory=small_folder)
    hub.Trainer(resumed, settings=FAST, checkpoint_dir=tmp_path / "resumed").train(examples, eval_dataset=examples, resume=True)
    assert digest(resumed) == digest(straight)
    assert _facts(tmp_path / "resumed") == _facts(tmp_path / "straight")


def test_resuming_with_other_settings_or_data_is_refused(small_folder: Path, examples: hub.Examples, tmp_path: Path) -> None:
    hub.Trainer(hub.Module(directory=small_folder), settings=FAST, checkpoint_dir=tmp_path).train(examples)
    changed = hub.Trainer(
        hub.Module(directory=small_folder), settings=FAST.model_copy(update={"learning_rate": 1e-3}), checkpoint_dir=tmp_path
    )
    with pytest.raises(hub.NlphubError, match="other settings"):
        changed.train(examples, resume=True)
    fewer = hub.Trainer(hub.Module(directory=small_folder), settings=FAST, checkpoint_dir=tmp_path)
    with pytest.raises(hub.NlphubError, match="other data"):
        fewer.train(examples[:-1], resume=True)
    for other in (hub.Module(directory=small_folder, max_length=4), hub.Module(directory=small_folder, seed=9)):
        with pytest.raises(hub.NlphubError, match="other settings"):
            hub.Trainer(other, settings=FAST, checkpoint_dir=tmp_path).train(examples, resume=True)
    with pytest.raises(hub.NlphubError, match="other settings"):
        hub.Trainer(hub.Module(directory=small_folder), settings=FAST, checkpoint_dir=tmp_path).train(
            examples, eval_dataset=examples, resume=True
        )


def test_a_changed_training_state_is_noticed(small_folder: Path, examples: hub.Examples, tmp_path: Path) -> None:
    hub.Trainer(hub.Module(directory=small_folder), settings=FAST, checkpoint_dir=tmp_path).train(examples)
    state = tmp_path / "last" / "training_state.safetensors"
    state.write_bytes(state.read_bytes()[:-1] + b"\x01")
    with pytest.raises(hub.NlphubError, match="has changed since it was written"):
        hub.Trainer(hub.Module(directory=small_folder), settings=FAST, checkpoint_dir=tmp_path).train(examples, resume=True)


def test_resuming_an_ended_training_does_nothing_and_says_so(small_folder: Path, examples: hub.Examples, tmp_path: Path) -> None:
    module = hub.Module(directory=small_folder)
    hub.Trainer(module, settings=FAST, checkpoint_dir=tmp_path).train(examples, eval_dataset=examples)
    again = hub.Module(directory=small_folder)
    report = hub.Trainer(again, settings=FAST, checkpoint_dir=tmp_path).train(examples, eval_dataset=examples, resume=True)
    assert report.steps == 0
    assert digest(again) == digest(module)


def test_training_stops_early_and_keeps_the_best_weights(small_folder: Path, examples: hub.Examples) -> None:
    module = hub.Module(directory=small_folder)
    trainer = hub.Trainer(module, settings=FAST.model_copy(update={"epochs": 50, "patience": 1, "learning_rate": 1e-9}))
    steps = list(trainer.steps(examples, examples))
    assert steps[-1].epoch == 2.0, "one better score at the first evaluation, then one without"
    assert [step.improved for step in steps if step.evaluated] == [True, False]


def test_the_best_and_not_the_last_weights_come_back(small_folder: Path, examples: hub.Examples) -> None:
    module = hub.Module(directory=small_folder)
    trainer = hub.Trainer(module, settings=FAST.model_copy(update={"epochs": 6, "schedule": "constant"}))
    scores = [0.2, 0.9, 0.1, 0.3, 0.2, 0.1, 0.9]
    kept: list[str] = []
    judge = trainer.evaluate
    trainer.evaluate = lambda data: _with_score(judge(data), scores.pop(0), kept, module)
    trainer.train(examples, eval_dataset=examples)  # the last call is the final report's
    assert digest(module) == kept[1]


def test_a_training_that_diverges_stops_and_names_the_cure(small_folder: Path, examples: hub.Examples, tmp_path: Path) -> None:
    wild = FAST.model_copy(update={"learning_rate": 1e30, "clip": None})
    with pytest.raises(hub.NlphubError, match=r"train\.learning_rate"):
        hub.Trainer(hub.Module(directory=small_folder), settings=wild, checkpoint_dir=tmp_path).train(examples, eval_dataset=examples)
    assert all("NaN" not in path.read_text("utf-8") for path in tmp_path.glob("*.jsonl"))


@pytest.mark.parametrize("change", [{"epochs": 0}, {"batch_size": 0}, {"epochs": True}, {"batch_size": 1.5}], ids=str)
def test_epochs_and_batch_size_are_checked_and_hold_for_one_call(change: dict, small_folder: Path, examples: hub.Examples) -> None:
    trainer = hub.Trainer(hub.Module(directory=small_folder), settings=FAST)
    with pytest.raises(hub.NlphubError, match="whole number"):
        trainer.train(examples, **change)
    trainer.train(examples, epochs=1)
    assert trainer.settings.epochs == 3


def test_paddlehubs_keywords_are_accepted_with_a_warning(small_folder: Path, examples: hub.Examples) -> None:
    trainer = hub.Trainer(hub.Module(directory=small_folder), settings=FAST)
    with pytest.warns(DeprecationWarning, match="num_workers, log_interval, save_interval"):
        trainer.train(examples, 1, 8, 0, examples, log_interval=10, save_interval=1)


def test_numbers_in_the_data_are_names_of_the_label_map(small_folder: Path) -> None:
    module = hub.Module(directory=small_folder, task="seq-cls", label_map={0: "负面", 1: "正面"})
    rows = [("很差", 0), ("很好", 1), ("不行", 0), ("喜欢", 1)]
    report = hub.Trainer(module, settings=FAST).train(rows, eval_dataset=rows)
    assert report.metrics is not None
    assert report.metrics.labels == ("负面", "正面")
    with pytest.raises(hub.NlphubError, match="'2'"):
        hub.Trainer(module, settings=FAST).train([*rows, ("嗯", 2)])


def test_a_new_training_replaces_the_measurements_of_the_old_one(small_folder: Path, examples: hub.Examples, tmp_path: Path) -> None:
    for _ in range(2):
        hub.Trainer(hub.Module(directory=small_folder), settings=FAST, checkpoint_dir=tmp_path).train(examples)
    assert [fact["step"] for fact in _facts(tmp_path)] == list(range(1, 19))


def test_a_folder_called_last_that_is_no_module_is_left_alone(small_folder: Path, examples: hub.Examples, tmp_path: Path) -> None:
    (tmp_path / "last").mkdir()
    (tmp_path / "last" / "thesis.txt").write_text("precious")
    with pytest.raises(hub.NlphubError, match="left alone"):
        hub.Trainer(hub.Module(directory=small_folder), settings=FAST, checkpoint_dir=tmp_path).train(examples)
    assert (tmp_path / "last" / "thesis.txt").exists()


def test_rates_warm_up_and_fall(small_folder: Path, examples: hub.Examples) -> None:
    settings = FAST.model_copy(update={"warmup": 0.5, "learning_rate": 1.0})
    rates = [step.rate for step in hub.Trainer(hub.Module(directory=small_folder), settings=settings).steps(examples)]
    assert rates[:9] == sorted(rates[:9])
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert max(rates) == 1.0


def test_class_weights_follow_scikit_learn(small_folder: Path, examples: hub.Examples) -> None:
    from sklearn.utils.class_weight import compute_class_weight

    from nlphub.training.objectives import class_weights

    labels = examples.labels[:20]
    names = tuple(sorted(set(labels)))
    targets = np.array([names.index(label) for label in labels])
    ours = class_weights("balanced", targets, names)
    np.testing.assert_allclose(ours, compute_class_weight("balanced", classes=np.array(names), y=labels), rtol=1e-6)
    assert class_weights("none", targets, names) is None


def test_class_weights_for_unknown_labels_are_refused(small_folder: Path, examples: hub.Examples) -> None:
    settings = FAST.model_copy(update={"class_weights": {"余额": 2.0, "没有": 1.0}})
    with pytest.raises(hub.NlphubError, match="没有"):
        hub.Trainer(hub.Module(directory=small_folder), settings=settings).train(examples)


def test_lower_layers_get_smaller_rates_and_norms_no_decay(small_folder: Path, examples: hub.Examples) -> None:
    module = hub.Module(directory=small_folder, task="seq-cls", num_classes=3)
    groups = hub.parameter_groups(module, learning_rate=1.0, weight_decay=0.1, layer_decay=0.5)
    rate = {id(parameter): (group["lr"], group["weight_decay"]) for group in groups for parameter in group["params"]}
    named = dict(module.named_parameters())
    assert rate[id(named["encoder.embeddings.word.weight"])] == (0.125, 0.1)
    assert rate[id(named["encoder.blocks.0.qkv.weight"])] == (0.25, 0.1)
    assert rate[id(named["encoder.blocks.1.norm1.weight"])] == (0.5, 0.0)
    assert rate[id(named["head.classifier.weight"])] == (1.0, 0.1)
    assert len(rate) == len(named)


def test_every_mistake_in_the_data_is_reported_at_once(small_folder: Path) -> None:
    rows = [("", "甲"), ("好", ""), ("行", "甲")]
    with pytest.raises(hub.NlphubError) as caught:
        hub.Trainer(hub.Module(directory=small_folder)).train(rows, eval_dataset=[("嗯", "乙")])
    assert len(caught.value.problems) >= 3


def test_dropout_of_the_settings_reaches_the_network(small_folder: Path, examples: hub.Examples) -> None:
    module = hub.Module(directory=small_folder)
    next(hub.Trainer(module, settings=FAST.model_copy(update={"dropout": 0.25})).steps(examples))
    assert module.encoder.config.dropout == module.encoder.blocks[1].config.attention_dropout == module.head.probability == 0.25


def _facts(folder: Path) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [{key: value for key, value in line.items() if key != "tokens_per_second"} for line in lines]


def _raise_at_second_call(function):
    calls = []

    def guarded(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        function(*arguments)

    return guarded


def _with_score(metrics, score, kept, module):
    from dataclasses import replace

    kept.append(digest(module))
    return replace(metrics, macro_f1=score)
