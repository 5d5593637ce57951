"""A teacher in the ordinary training: closer to it, exact resume, other vocabularies and tasks, invented texts, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nlphub as hub
from nlphub.checkpoints.native import weights_digest
from nlphub.compress.shrink import Words, shrink
from nlphub.errors import InputError
from nlphub.recipe import DistillSettings
from nlphub.training.distillation.losses import soft_cross_entropy
from nlphub.training.distillation.teaching import Teaching
from nlphub.training.distillation.texts import labelled_by, variants

LABELS = ["余额", "转账", "挂失"]
ROWS = [
    (f"{opening}{middle}{end}", label)
    for label, middle in zip(LABELS, ("还剩多少钱", "怎么汇款", "卡丢了"), strict=True)
    for opening in ("请问", "喂")
    for end in ("", "啊", "？")
]
TEXTS = [text for text, _ in ROWS]
FAST = hub.TrainSettings(epochs=2, batch_size=9, learning_rate=3e-3)
EVERYTHING = {"hidden": 0.5, "relations": 0.5}


@pytest.fixture(scope="module")
def teacher_folder(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of random weights, but sure of its answers, which differ."""
    folder = tmp_path_factory.mktemp("teacher") / "module"
    module = hub.Module(directory=small_folder, task="seq-cls", labels=LABELS, seed=9)
    with torch.no_grad():
        module.head.pool.weight.mul_(10.0)
        module.head.classifier.weight.mul_(30.0)
    module.save(folder)
    return folder


@pytest.fixture
def teacher(teacher_folder: Path) -> hub.Module:
    return hub.Module(directory=teacher_folder)


def student(folder: Path, **options: Any) -> hub.Module:
    return hub.Module(directory=folder, **{"task": "seq-cls", "labels": LABELS, "seed": 4, **options})


def settings(**changes: Any) -> DistillSettings:
    return DistillSettings(teacher="-", **changes)


def distance(module: hub.Module, teacher: hub.Module) -> float:
    order = [teacher.labels.index(label) for label in module.labels]
    told, wanted = torch.from_numpy(module.logits(TEXTS)), torch.from_numpy(teacher.logits(TEXTS)[:, order])
    return float(soft_cross_entropy(told, wanted, temperature=1.0).mean())


@pytest.mark.parametrize("inside", [{}, EVERYTHING], ids=["logits", "everything"])
def test_the_module_comes_closer_to_its_teacher(inside: dict[str, float], teacher: hub.Module, small_folder: Path) -> None:
    module = student(small_folder, labels=LABELS[::-1])  # the order of labels is the module's own
    before, kept = distance(module, teacher), weights_digest(teacher.encoder, teacher.head)
    teaching = Teaching(teacher, settings(logits=1.0, **inside), labelled=0)
    hub.Trainer(module, settings=FAST.model_copy(update={"epochs": 15}), progress=False, teaching=teaching).train(ROWS)
    assert distance(module, teacher) < 0.5 * before
    assert weights_digest(teacher.encoder, teacher.head) == kept
    assert not [name for name in module.state_dict() if "projection" in name]


def test_without_any_share_a_teacher_changes_nothing(teacher: hub.Module, small_folder: Path) -> None:
    plain, taught = student(small_folder), student(small_folder)
    hub.Trainer(plain, settings=FAST, progress=False).train(ROWS)
    hub.Trainer(taught, settings=FAST, progress=False, teaching=Teaching(teacher, settings(logits=0.0))).train(ROWS)
    assert weights_digest(plain.encoder, plain.head) == weights_digest(taught.encoder, taught.head)


def test_labels_of_unlabelled_texts_do_not_count(teacher: hub.Module, small_folder: Path) -> None:
    wrong = [*ROWS[:6], *((text, LABELS[1]) for text, _ in ROWS[6:])]
    digests = set()
    for rows in (ROWS, wrong):
        module = student(small_folder)
        hub.Trainer(module, settings=FAST, progress=False, teaching=Teaching(teacher, settings(logits=0.3), labelled=6)).train(rows)
        digests.add(weights_digest(module.encoder, module.head))
    assert len(digests) == 1


def test_a_resumed_training_with_projections_ends_with_the_same_weights(teacher: hub.Module, small_folder: Path, tmp_path: Path) -> None:
    def trainer(folder: Path) -> hub.Trainer:
        return hub.Trainer(
            student(small_folder), settings=FAST, checkpoint_dir=folder, progress=False, teaching=Teaching(teacher, settings(**EVERYTHING))
        )

    whole = trainer(tmp_path / "whole")
    whole.train(ROWS)
    broken = trainer(tmp_path / "broken")
    loop = broken._loop(FAST, hub.Examples.of(ROWS), None)
    for fact in broken._steps(loop, None, resume=False):
        if fact.improved:
            broken.keeper.keep_best(broken.module)
        if fact.evaluated:
            broken.keeper.keep_last(broken.module, broken._optimizer(), fact.progress, loop.weights)
            break
    again = trainer(tmp_path / "broken")
    again.train(ROWS, resume=True)
    assert weights_digest(again.module.encoder, again.module.head) == weights_digest(whole.module.encoder, whole.module.head)


def test_a_pruned_vocabulary_may_learn_everything_and_another_tokenizer_answers_alone(teacher: hub.Module, small_folder: Path) -> None:
    small = shrink(student(small_folder), words=Words(tuple(TEXTS))).module
    hub.Trainer(small, settings=FAST, progress=False, teaching=Teaching(teacher, settings(**EVERYTHING))).train(ROWS)
    short = student(small_folder, max_length=4)  # cuts its texts elsewhere
    teaching = Teaching(teacher, settings(hidden=1.0))
    teacher.max_length = 3
    with pytest.raises(InputError, match=f"{len(ROWS)} of {len(ROWS)} texts fall into other tokens"):
        hub.Trainer(short, settings=FAST, progress=False, teaching=teaching).train(ROWS)
    hub.Trainer(short, settings=FAST, progress=False, teaching=Teaching(teacher, settings())).train(ROWS)


@pytest.mark.parametrize("task", ["token-cls", "multi-label", "regression", "text-matching"])
def test_every_task_with_answers_of_rows_can_be_taught(task: str, small_folder: Path) -> None:
    data: dict[str, list[dict[str, Any]]] = {
        "token-cls": [{"text": f"{name}在北京", "spans": [(0, 2, "人")]} for name in ("张三", "李四", "王五", "赵六")],
        "multi-label": [{"text": text, "labels": [label, *([LABELS[0]] if "？" in text else [])]} for text, label in ROWS],
        "regression": [{"text": text, "value": float(len(text))} for text, _ in ROWS],
        "text-matching": [{"text": text, "pair": pair, "label": str(int(a == b))} for text, a in ROWS[::7] for pair, b in ROWS[::7]],
    }
    rows = hub.Examples.of(data[task])
    first, other = (hub.Module(directory=small_folder, **_head_of(task)) for _ in range(2))
    first.trained = True
    once = FAST.model_copy(update={"epochs": 1})
    facts = list(hub.Trainer(other, settings=once, progress=False, teaching=Teaching(first, settings(**EVERYTHING))).steps(rows))
    assert np.isfinite([fact.loss for fact in facts]).all()
    again = labelled_by(first, rows.texts, rows.pairs)
    assert [example.text for example in again] == rows.texts


def _head_of(task: str) -> dict[str, Any]:
    names = {"token-cls": ["人"], "multi-label": LABELS, "regression": None, "text-matching": ["0", "1"]}
    return {"task": task, "labels": names[task]}


def test_a_bi_encoder_learns_the_answers_of_a_cross_encoder(small_folder: Path) -> None:
    rows = [{"text": text, "pair": pair, "label": str(int(a == b))} for text, a in ROWS[::7] for pair, b in ROWS[::7]]
    cross = hub.Module(directory=small_folder, task="text-matching", labels=["0", "1"])
    cross.trained = True
    apart = hub.Module(directory=small_folder, task="text-matching", labels=["0", "1"], variant="bi-encoder")
    hub.Trainer(apart, settings=FAST, progress=False, teaching=Teaching(cross, settings())).train(rows)
    with pytest.raises(InputError, match="a bi-encoder reads each by itself"):
        hub.Trainer(apart, settings=FAST, progress=False, teaching=Teaching(cross, settings(hidden=1.0))).train(rows)


def test_variants_replace_whole_words_and_follow_the_seed(small_folder: Path) -> None:
    filler = hub.Module(directory=small_folder, task="mlm")
    texts = ["请问怎么汇款Ａ", "卡"]
    made = variants(filler, texts, copies=3, rate=0.3, seed=1)
    assert made == variants(filler, texts, copies=3, rate=0.3, seed=1)
    assert made != variants(filler, texts, copies=3, rate=0.3, seed=2)
    assert [len(text) for text in made] == [7, 7, 7, 1, 1, 1]
    changed = [sum(a != b for a, b in zip(text, texts[0], strict=True)) for text in made[:3]]
    assert max(changed) > 0
    assert max(changed) < 7
    assert variants(filler, texts, copies=0, rate=0.3, seed=1) == []
    with pytest.raises(InputError, match="masked-language head"):
        variants(student(small_folder), texts, copies=1, rate=0.3, seed=1)


def test_what_cannot_be_taught_is_refused_with_all_reasons(teacher: hub.Module, small_folder: Path) -> None:
    other = student(small_folder, labels=["余额", "转账", "贷款"])
    wanted = settings(hidden=1.0, relations=1.0, relation_heads=7, layers={9: 1, 1: 8})
    with pytest.raises(InputError) as refused:
        hub.Trainer(other, settings=FAST, progress=False, teaching=Teaching(teacher, wanted)).train(
            [("一", "余额"), ("二", "转账"), ("三", "贷款")]
        )
    assert len(refused.value.problems) == 5
    for part in (
        "does not know: 贷款",
        "does not have: 挂失",
        "the module has no layer 9",
        "the teacher has no layer 8",
        "relation_heads=7",
    ):
        assert part in str(refused.value)
    untrained = hub.Module(directory=small_folder)
    for wrong, why in (
        (untrained, "no trained head"),
        (hub.Module(directory=small_folder, task="token-cls", labels=["人"]), "no trained head"),
    ):
        with pytest.raises(InputError, match=why):
            hub.Trainer(student(small_folder), settings=FAST, progress=False, teaching=Teaching(wrong, settings())).train(ROWS)
    fast, few = FAST.model_copy(update={"r_drop": 0.5, "dropout": 0.1}), FAST.model_copy(update={"method": "prototype"})
    with pytest.raises(InputError, match="r_drop"):
        hub.Trainer(student(small_folder), settings=fast, progress=False, teaching=Teaching(teacher, settings())).train(ROWS)
    with pytest.raises(InputError, match="method=finetune"):
        hub.Trainer(student(small_folder), settings=few, progress=False, teaching=Teaching(teacher, settings())).train(ROWS)


def test_a_recipe_learns_from_labelled_unlabelled_and_invented_texts(teacher_folder: Path, small_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in ROWS[:-1]), "utf-8")
    (tmp_path / "more.csv").write_text(f"text\n喂卡丢了呀\n{ROWS[-1][0]}\n", "utf-8")
    (tmp_path / "dev.csv").write_text("text,label\n{},{}\n".format(*ROWS[-1]), "utf-8")
    start, run, teacher = (json.dumps(str(path)) for path in (small_folder, tmp_path / "run", teacher_folder))
    lines = [
        f"module: {{directory: {start}}}",
        "task: seq-cls",
        "data: {train: train.csv, dev: dev.csv}",
        "train: {epochs: 1, batch_size: 8}",
        f"run: {{folder: {run}}}",
        f"distill: {{teacher: {teacher}, unlabelled: more.csv, copies: 1, filler: {start}}}",
    ]
    (tmp_path / "taught.yaml").write_text("\n".join(lines), "utf-8")
    recipe = hub.load_recipe(tmp_path / "taught.yaml")
    done = hub.finetune(recipe, progress=False)
    lock = json.loads((done.folder / "lock.json").read_text("utf-8"))
    assert {name: lock["teacher"][name] for name in ("unlabelled", "variants")} == {"unlabelled": 1, "variants": 17}
    assert hub.Module(directory=done.folder).labels == tuple(LABELS)
    assert hub.load_recipe(done.folder / "recipe.yaml").distill == recipe.distill
    plain = hub.load_recipe(tmp_path / "taught.yaml", ["distill=null"])
    assert plain.digest() != recipe.digest()
    with pytest.raises(InputError, match="Only `nlphub finetune`"):
        hub.find_learning_rate(recipe)


def test_recipes_with_teachers_are_checked(tmp_path: Path, teacher_folder: Path) -> None:
    for wrong, why in (
        (["train.method=prototype"], "set train.method=finetune"),
        (["train.method=finetune", "distill.temperature=0"], "distill.temperature"),
        (["train.method=finetune", "train.r_drop=1"], "r_drop makes two"),
        (["train.method=finetune", "distill.hiden=1"], "Did you mean 'hidden'"),
    ):
        with pytest.raises(InputError, match=why):
            hub.load_recipe("intent", [f"distill.teacher={teacher_folder}", *wrong])
    recipe = hub.load_recipe("intent", [f"distill.teacher={teacher_folder}", "train.method=finetune"])
    with pytest.raises(InputError, match="does not know all labels") as refused:
        hub.finetune(recipe.model_copy(update={"run": recipe.run.model_copy(update={"folder": str(tmp_path / "run")})}), progress=False)
    assert len(refused.value.problems) > 3
    assert not (tmp_path / "run").exists()
    assert np.isfinite(recipe.distill.temperature)
