"""Training as a device does it, with recorded calls for captured graphs: the plain loop's losses, told late, and the same errors."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import nlphub as hub
from nlphub.errors import InputError, TrainingError
from nlphub.kernels import operators
from nlphub.recipe import TrainSettings
from nlphub.training import trainer as trainer_module
from nlphub.training.device import choose
from nlphub.training.device.graphs import Work
from nlphub.training.device.loop import DeviceLoop
from nlphub.training.device.steps import _Recorded
from nlphub.training.facts import Step
from nlphub.training.loop import Loop
from nlphub.training.optim import parameter_groups
from nlphub.training.state import Progress

FAST = TrainSettings(epochs=5, batch_size=8, learning_rate=3e-3, dropout=0.1)
TAGGED = [
    {"text": f"{who}在{where}上班", "spans": [[0, len(who), "人"]]}
    for who in ("张三", "李四", "欧阳小明")
    for where in ("北京", "大连市", "乌鲁木齐") * 2
]
SETS = [
    {"text": text, "labels": labels}
    for text, labels in (("又贵又慢", ["价格", "速度"]), ("贵", ["价格"]), ("慢啊慢", ["速度"]), ("好", [])) * 6
]
VALUES = [{"text": "好" * count, "value": float(count)} for count in range(1, 25)]


def module_of(folder: Path, task: str, labels: list[str]) -> hub.Module:
    return hub.Module(directory=folder, task=task, labels=labels or None)


def run(kind: type[Loop], module: hub.Module, data: Any, settings: TrainSettings, *, most: int = 1000) -> tuple[Loop, list[Step]]:
    groups = parameter_groups(module, learning_rate=settings.learning_rate)
    loop = kind(module, torch.optim.AdamW(groups, fused=True), settings, hub.Examples.of(data))

    def facts() -> Iterator[Step]:
        progress = Progress.start(loop.fingerprint)
        for number, batch in loop.batches(after=0):
            fact = loop.step(number, batch, progress)
            progress = fact.progress
            yield fact
            if number == most:
                return

    return loop, list(loop.told(facts()) if isinstance(loop, DeviceLoop) else facts())


@pytest.mark.parametrize(
    "changes",
    [{}, {"max_tokens": 40}, {"accumulation": 2}, {"clip": None, "average": 0.9}, {"class_weights": "balanced", "focal": 2.0}],
    ids=["plain", "parts", "accumulation", "average", "options"],
)
def test_losses_and_weights_are_those_of_the_plain_loop(changes: dict[str, Any], small_folder: Path, rows: list[tuple[str, str]]) -> None:
    settings, labels = FAST.model_copy(update={**changes, "epochs": 7}), ["余额", "转账", "挂失"]
    plain, device = (module_of(small_folder, "seq-cls", labels) for _ in range(2))
    _, expected = run(Loop, plain, rows * 2, settings, most=20)
    loop, facts = run(DeviceLoop, device, rows * 2, settings, most=20)
    assert len(facts) >= 20
    assert [(fact.step, fact.epoch, fact.rate, fact.examples, fact.tokens, fact.evaluated) for fact in facts] == [
        (fact.step, fact.epoch, fact.rate, fact.examples, fact.tokens, fact.evaluated) for fact in expected
    ]
    assert [fact.loss for fact in facts] == pytest.approx([fact.loss for fact in expected], abs=1e-5)
    assert facts[0].loss == pytest.approx(expected[0].loss, abs=1e-6)
    assert all(fact.seconds > 0 for fact in facts)
    for one, other in zip(device.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-3), "Adam divides rounding by rounding where gradients are 0"
    assert isinstance(loop, DeviceLoop)
    assert loop._device_step is not None
    assert 1 <= loop._device_step.recorded <= 8


@pytest.mark.parametrize(
    ("task", "data", "labels"), [("token-cls", TAGGED, ["人"]), ("multi-label", SETS, ["价格", "速度"]), ("regression", VALUES, [])]
)
def test_other_tasks_learn_the_same_too(task: str, data: Any, labels: list[str], small_folder: Path) -> None:
    (_, expected), (_, facts) = (run(kind, module_of(small_folder, task, labels), data, FAST, most=4) for kind in (Loop, DeviceLoop))
    assert [fact.loss for fact in facts] == pytest.approx([fact.loss for fact in expected], rel=1e-5)


def test_a_tail_changes_neither_loss_nor_gradients(
    small_folder: Path, rows: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    flats = []
    for shaped in (True, False):
        module = module_of(small_folder, "seq-cls", ["余额", "转账", "挂失"])
        with monkeypatch.context() as patch:
            if not shaped:
                patch.setattr("nlphub.training.device.buckets.Shapes.fit", lambda self, lengths: None)
            loop, _ = run(DeviceLoop, module, rows, FAST, most=1)
            assert isinstance(loop, DeviceLoop)
            assert loop._device_step is not None
            assert loop._device_step.recorded == int(shaped)
            flats.append(loop._device_step.gradients.flat.clone())
    assert torch.allclose(flats[0], flats[1], atol=1e-6)
    assert float(flats[0].abs().max()) > 0.01


class Frozen:
    """Calls that know of the host what a captured graph would."""

    frozen = True

    def record(self, work: Work) -> Work:
        return work


def test_operators_for_the_device_need_nothing_of_the_host(
    small_folder: Path, rows: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, expected = run(Loop, module_of(small_folder, "seq-cls", ["余额", "转账", "挂失"]), rows, FAST, most=12)
    monkeypatch.setattr("nlphub.kernels.dispatch.on_cpu", lambda: operators)
    monkeypatch.setattr("nlphub.training.device.loop.Calls", Frozen)
    _, facts = run(DeviceLoop, module_of(small_folder, "seq-cls", ["余额", "转账", "挂失"]), rows, FAST, most=12)
    assert [fact.loss for fact in facts] == pytest.approx([fact.loss for fact in expected], abs=1e-5)


def test_a_graph_of_kernels_that_read_lengths_on_the_host_is_refused(
    small_folder: Path, rows: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nlphub.training.device.loop.Calls", Frozen)
    with pytest.raises(InputError, match="find sequences by tensors on the device"):
        run(DeviceLoop, module_of(small_folder, "seq-cls", ["余额", "转账", "挂失"]), rows, FAST, most=1)


def test_bfloat16_works_on_a_copy_and_learns_in_float32(small_folder: Path, rows: list[tuple[str, str]]) -> None:
    module = module_of(small_folder, "seq-cls", ["余额", "转账", "挂失"])
    settings = FAST.model_copy(update={"precision": "bf16", "epochs": 12})
    loop, facts = run(DeviceLoop, module, rows, settings)
    assert isinstance(loop, DeviceLoop)
    assert loop._device_step is not None
    working = loop._device_step.working
    assert {weight.dtype for weight in working.weights.values()} == {torch.bfloat16}
    assert {weight.dtype for weight in module.parameters()} == {torch.float32}
    assert all(torch.equal(working.weights[name], master.to(torch.bfloat16)) for name, master in working.masters.items())
    assert facts[-1].loss < 0.6 * facts[0].loss


def test_the_next_batch_is_on_its_way_when_the_update_runs(
    small_folder: Path, rows: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    class Noting:
        frozen = False

        def record(self, work: Work) -> Work:
            name = "update" if not hasattr(work, "__func__") else "backward"
            return lambda: (told.append(name), work())[1]  # type: ignore[func-returns-value]

    send = _Recorded.send
    monkeypatch.setattr(_Recorded, "send", lambda self, *given: (told.append("send"), send(self, *given))[1])
    module = module_of(small_folder, "seq-cls", ["余额", "转账", "挂失"])
    monkeypatch.setattr("nlphub.training.device.loop.Calls", Noting)
    run(DeviceLoop, module, rows, FAST.model_copy(update={"epochs": 1}))
    assert told == ["send", *["backward", "send", "update"] * 5, "backward", "update"]


def test_a_step_that_is_not_finite_is_named_and_the_weights_are_those_before(small_folder: Path, rows: list[tuple[str, str]]) -> None:
    module = module_of(small_folder, "seq-cls", ["余额", "转账", "挂失"])
    settings = FAST.model_copy(update={"learning_rate": 1e30, "warmup": 0.0, "clip": None, "epochs": 20})
    messages = []
    for kind in (Loop, DeviceLoop):
        module = module_of(small_folder, "seq-cls", ["余额", "转账", "挂失"])
        with pytest.raises(TrainingError, match=r"Use a smaller train\.learning_rate") as caught:
            run(kind, module, rows, settings)
        messages.append(str(caught.value).split(":")[0])
        assert all(bool(torch.isfinite(weight).all()) for weight in module.parameters())
    assert messages[0] == messages[1], "the same step"


def as_device(*given: Any, **options: Any) -> Loop:
    options.pop("teaching")
    return DeviceLoop(*given, **options)


def test_a_trainer_stops_resumes_and_keeps_what_the_plain_one_does(
    small_folder: Path, examples: hub.Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer_module, "loop_for", as_device)
    whole, stopped = (hub.Module(directory=small_folder) for _ in range(2))
    report = hub.Trainer(whole, settings=FAST, checkpoint_dir=tmp_path / "whole").train(examples, eval_dataset=examples)
    facts = hub.Trainer(stopped, settings=FAST, checkpoint_dir=tmp_path / "stopped")
    for fact in facts.steps(examples, examples):
        facts.keeper.log(fact.as_dict())
        if fact.evaluated:
            facts.keeper.keep_best(facts.module)
            facts.keeper.keep_last(facts.module, facts._optimizer(), fact.progress, {})
        if fact.step == 7:
            break
    again = hub.Trainer(hub.Module(directory=small_folder), settings=FAST, checkpoint_dir=tmp_path / "stopped")
    again.train(examples, eval_dataset=examples, resume=True)
    assert again.module.predict(["卡丢了"]) == whole.predict(["卡丢了"])
    lines = [(tmp_path / name / "metrics.jsonl").read_text().count('"loss": null') for name in ("whole", "stopped")]
    assert lines == [0, 0]
    assert report.metrics.accuracy > 0.5


def test_graphs_are_off_unless_asked_for_and_reasons_are_given_together(small_folder: Path, examples: hub.Examples) -> None:
    assert TrainSettings().graphs == "off"
    assert "graphs" not in TrainSettings().decisive()
    module = module_of(small_folder, "seq-cls", ["余额", "转账", "挂失"])
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    on = FAST.model_copy(update={"graphs": "on", "r_drop": 1.0, "backoff": 1})
    with pytest.raises(InputError) as caught:
        choose.loop_for(module, optimizer, on, examples)
    for part in ("cpu", "SGD", "r_drop", "backoff", "train.graphs=auto or off"):
        assert part in str(caught.value)
    chosen = choose.loop_for(module, optimizer, FAST.model_copy(update={"graphs": "auto"}), examples)
    assert type(chosen) is Loop


def test_heads_whose_losses_follow_lengths_are_not_captured(small_folder: Path) -> None:
    module = hub.Module(directory=small_folder, task="token-cls", labels=["人"], variant="crf")
    reasons = choose.unfit(module, torch.optim.AdamW(module.parameters()), FAST)
    assert any("ChainHead" in reason for reason in reasons)


def test_it_is_said_where_graphs_are_of_little_use(small_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    texts = [(letter * 300, label) for letter, label in (("余", "余额"), ("转", "转账"), ("挂", "挂失"))]
    _, facts = run(DeviceLoop, module_of(small_folder, "seq-cls", ["余额", "转账", "挂失"]), texts, FAST, most=1)
    assert "only 0 of 1 batches have a shape that is captured" in caplog.text, "texts longer than the kernels take"
    assert facts[0].loss > 0
