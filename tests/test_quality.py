"""The parts of ``benchmarks/quality.py`` on small made-up rows: which rows, what is kept, what is shown, and that the models learn."""

import json
import lzma
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import quality
from judging import linear, linear_answers, neural, probe, run, table
from judging.bags import fit_bags
from judging.cells import Cell, Key, Store, same_rows, wanted
from judging.features import BUCKETS, character_bags, hashed
from judging.hyper import COLUMNS, hyper
from judging.published import FIGURES, MODELS, SOURCES
from judging.scores import area, span_scores
from judging.sets import (
    JUDGED_ROWS,
    SETS,
    Row,
    Set,
    Task,
    data_folder,
    load_task,
    make_task,
    mended,
    read_rows,
    sample,
    tags_of,
    to_row,
    within,
)

from nlphub import paths
from nlphub.data.spans import Span
from nlphub.errors import DataError, InputError, WeightsError

ROOT = Path(__file__).parents[1]
STARTS = {"random": "shape 0", "pretrained": "ab" * 32}
TEXT = Set("smp2017", "made up", "none", "text", "test", ("accuracy", "macro_f1"))


def count(rows: Sequence[Row]) -> Any:
    return np.array([len(row.text) + 2 for row in rows])


def text_rows(number: int, *, seed: int) -> list[Row]:
    chance = random.Random(seed)
    words = {
        "退货": ["我要退货", "想退这双鞋", "怎么退款"],
        "物流": ["快递到哪里了", "物流太慢", "几时发货"],
        "人工": ["转人工", "找客服", "叫人来"],
    }
    labels = [chance.choice(sorted(words)) for _ in range(number)]
    return [
        Row(chance.choice(words[label]) + chance.choice(["", "吧", "谢谢", "，好吗"]) + str(n), label) for n, label in enumerate(labels)
    ]


def pair_rows(number: int, *, seed: int) -> list[Row]:
    chance, words = random.Random(seed), ["苹果", "香蕉", "手机", "银行", "天气", "电影"]
    pairs = [
        (one := chance.choice(words), one if chance.random() < 0.5 else chance.choice([w for w in words if w != one]))
        for _ in range(number)
    ]
    return [Row(f"{one}好吗{n}", "1" if one == two else "0", pair=f"{two}好吗{n}") for n, (one, two) in enumerate(pairs)]


def span_rows(number: int, *, seed: int) -> list[Row]:
    chance = random.Random(seed)
    rows = []
    for n in range(number):
        name, place = chance.choice(["张三", "李小四", "王五"]), chance.choice(["北京", "上海", "拉萨"])
        text = f"昨天{name}去了{place}开会{n + 1000 * seed}"
        start = 4 + len(name)
        rows.append(Row(text, spans=(Span(2, 2 + len(name), "PER"), Span(start, start + 2, "LOC"))))
    return rows


def frame_rows(number: int, *, seed: int) -> list[Row]:
    chance, rows = random.Random(seed), []
    for n in range(number):
        (intent, before), place = chance.choice([("订票", "我想订"), ("退票", "不要了，退")]), chance.choice(["北京", "上海", "拉萨"])
        text = f"{before}去{place}的票{n + 1000 * seed}"
        rows.append(Row(text, intent, spans=(Span(len(before) + 1, len(before) + 3, "city"),)))
    return rows


def task(kind: str, rows: Callable[..., list[Row]], *, train: int = 120, judged: int = 40) -> Task:
    one = {"text": TEXT, "pair": SETS["lcqmc"], "spans": SETS["cluener"], "probe": SETS["probe16"], "frames": SETS["smp2019"]}[kind]
    return make_task(one, rows(train, seed=0), rows(judged, seed=1), tokens=100_000, count=count)


def cell(key: Key, value: float, rows: str = "r") -> Cell:
    facts = {"train_rows": 5, "train_tokens": 1000, "judged_rows": 7, "judged_rows_of": 9, "rows_digest": rows}
    machine = {"device": "cpu", "threads": 1, "seconds": 0.1}
    return Cell(key, {name: [value] for name in SETS[key.set].metrics}, facts | machine)


def keys(**changes: Any) -> list[Key]:
    given = {"sets": ["smp2017", "ocnli", "probe16"], "columns": COLUMNS, "seeds": 3, "cap": 100, "weights": STARTS} | changes
    return wanted(given.pop("sets"), given.pop("columns"), **given)


def test_rows_of_words_are_spans_of_one_label_and_cover_the_text() -> None:
    row = to_row({"text": "我们去北京", "tokens": ["我们", "去", "北京"]})
    assert row.spans == (Span(0, 2, "word"), Span(2, 3, "word"), Span(3, 5, "word"))
    assert tags_of(row) == ["B-word", "I-word", "B-word", "B-word", "I-word"]
    assert {SETS["resume"].kind, SETS["sxu"].kind} == {"spans"}


def test_a_smaller_budget_takes_a_part_of_the_rows_of_a_larger_one() -> None:
    sizes = np.random.default_rng(5).integers(3, 40, 300)
    small, large = within(sizes, 500), within(sizes, 2000)
    assert 460 < sizes[small].sum() <= 500 < 1960 < sizes[large].sum() <= 2000
    assert set(small) < set(large)
    assert list(small) == sorted(small)
    assert len(within(sizes, 10**9)) == 300


def test_judged_rows_are_at_most_two_thousand_and_never_trained_on() -> None:
    train, judged = text_rows(50, seed=0), text_rows(3000, seed=1)
    capped = make_task(TEXT, [*train, *judged[:10]], judged, tokens=10_000, count=count)
    assert len(capped.judged) == JUDGED_ROWS
    assert not {row.text for row in capped.train} & {row.text for row in judged}
    assert capped.facts["train_rows_judged_too"] >= 10
    whole = make_task(TEXT, train, judged, tokens=None, count=count)
    assert len(whole.judged) == 3000
    assert sample(10, 20) == list(range(10))


def test_a_budget_that_nothing_fits_into_is_refused() -> None:
    with pytest.raises(DataError, match="no row fits into 3 tokens"):
        make_task(TEXT, text_rows(5, seed=0), text_rows(5, seed=1), tokens=3, count=count)


def test_lines_become_rows_and_tags_cut_in_two_are_mended() -> None:
    assert to_row({"text": "好", "text_pair": "坏", "label": 3}) == Row("好", "3", "坏")
    row = to_row({"tokens": list("三去北京"), "tags": ["I-PER", "O", "B-LOC", "I-LOC"]})
    assert row == Row("三去北京", spans=(Span(0, 1, "PER"), Span(2, 4, "LOC")))
    assert tags_of(row) == ["B-PER", "O", "B-LOC", "I-LOC"]
    assert mended(["B-a", "I-b", "I-b", "O", "I-a"]) == ["B-a", "B-b", "I-b", "O", "B-a"]


def test_a_cell_is_found_only_by_all_that_decides_it(tmp_path: Path) -> None:
    store, key = Store(tmp_path), keys()[0]
    store.put(cell(key, 0.5))
    assert store.get(key) == cell(key, 0.5)
    others = [
        replace(key, seed=9),
        replace(key, cap=None),
        replace(key, hyper="x"),
        replace(key, weights="y"),
        replace(key, column="random"),
    ]
    assert [store.get(other) for other in others] == [None] * 5
    saved = json.loads((tmp_path / key.file).read_text("utf-8"))
    assert saved["hyper"] == hyper(key.column, SETS[key.set]), "published with the result"


@pytest.mark.parametrize("text", ["", "[]", '{"key": {"set": "smp2017"}}'])
def test_a_broken_cell_is_named(tmp_path: Path, text: str) -> None:
    key = keys()[0]
    (tmp_path / key.file).parent.mkdir()
    (tmp_path / key.file).write_text(text)
    with pytest.raises(DataError, match="is no cell of this benchmark"):
        Store(tmp_path).get(key)


def test_a_cell_in_the_file_of_another_is_refused(tmp_path: Path) -> None:
    key, other = keys()[:2]
    Store(tmp_path).put(cell(key, 0.5))
    (tmp_path / other.file).parent.mkdir(exist_ok=True)
    (tmp_path / key.file).rename(tmp_path / other.file)
    with pytest.raises(DataError, match="another key"):
        Store(tmp_path).get(other)


def test_one_seed_of_every_column_comes_before_the_next_seed() -> None:
    order = [(key.seed, key.set, key.column) for key in keys()]
    assert order[:4] == [(0, "smp2017", column) for column in COLUMNS]
    assert [seed for seed, _, _ in order] == sorted(seed for seed, _, _ in order)
    assert {key.seed for key in keys() if key.column == "tfidf"} == {0}, "nothing is drawn there"
    assert {key.seed for key in keys() if (key.column, key.set) == ("pretrained", "probe16")} == {0}
    assert {key.cap for key in keys() if key.set == "probe16"} == {None}, "shots are no budget"
    assert len({key.file for key in keys()}) == len(keys())


def test_without_trained_weights_there_are_no_pretrained_cells() -> None:
    assert {key.column for key in keys(weights={"random": "shape 0"})} == {"random", "tfidf", "ngrams"}


def test_a_missing_cell_is_a_dash_and_a_missing_seed_is_counted(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for key in keys():
        if (key.set, key.column) == ("smp2017", "random") or (key.set, key.column, key.seed) == ("ocnli", "ngrams", 0):
            store.put(cell(key, 0.5 + 0.1 * key.seed))
    made = table.build(keys(), store, columns=COLUMNS, cap=100, seeds=3, weights=STARTS["pretrained"])
    rows = [[part for part in line.split("  ") if part] for line in made.text().splitlines()]
    accuracy = next(row for row in rows if row[0].strip() == "SMP2017-ECDT")
    assert [part.strip() for part in accuracy[4:]] == ["-", "60.0 ±10.0", "-", "-", *["-"] * 5]
    ocnli = next(row for row in rows if row[0].strip() == "OCNLI")
    assert [part.strip() for part in ocnli[4:]] == ["-", "-", "-", "50.0 (1/3)", "67.4*", "69.8*", "70.6*", "73.1*", "75.2*"]
    first = made.as_dict()["rows"][0]
    assert first["scores"]["pretrained"] is None
    assert first["scores"]["random"]["values"] == pytest.approx([0.5, 0.6, 0.7])
    assert made.as_dict()["hyper_parameters"]["ocnli"]["random"]["epochs"] == 3
    assert all(line.count("|") == len(MODELS) + 9 for line in made.markdown().splitlines() if line.startswith("|"))


def test_a_score_that_an_older_cell_lacks_is_a_dash_and_is_made_after_the_missing_cells(tmp_path: Path) -> None:
    store, asked = Store(tmp_path), keys(sets=["lcqmc"], columns=["tfidf", "random"], seeds=1)
    old = next(key for key in asked if key.column == "random")
    store.put(Cell(old, {"accuracy": [0.5]}, dict(cell(old, 0.5).facts)))
    made = table.build(asked, store, columns=["tfidf", "random"], cap=100, seeds=1, weights=None)
    shown = {line.metric: str(line.scores["random"] or "-") for line in made.lines}
    assert shown == {"accuracy": "50.0", "auc": "-"}
    assert store.missing(asked) == {next(key for key in asked if key != old): (), old: ("auc",)}
    store.put(cell(old, 0.5))
    assert old not in store.missing(asked)


def test_pairs_of_two_labels_are_judged_by_the_order_of_their_scores_too() -> None:
    logits = np.array([[0.0, 2.0], [1.0, 0.0], [0.0, 0.5], [3.0, 3.5]])
    assert area(["1", "0", "0", "1"], logits, ("0", "1"))["auc"] == 0.875, "three pairs in order and a tie, of four"


def test_cells_made_with_other_rows_do_not_stand_together() -> None:
    one, two = keys()[:2]
    same_rows([cell(one, 0.5), cell(two, 0.5)])
    with pytest.raises(DataError, match=r"other rows than their neighbours(.|\n)*pretrained"):
        same_rows([cell(one, 0.5), cell(two, 0.5, rows="s")])


def test_every_published_figure_says_where_it_is_from() -> None:
    assert set(FIGURES) <= set(SETS)
    for figures in FIGURES.values():
        assert set(figures) <= set(MODELS)
        assert all(figure.source in SOURCES and 30 < figure.percent < 100 for figure in figures.values())


def test_features_are_the_same_on_every_machine() -> None:
    assert hashed("t", "退货") == 780691
    bags = character_bags("张三去")
    assert len(bags) == 3
    assert all(0 <= bucket < BUCKETS for bag in bags for bucket in bag)
    assert set(bags[0]) != set(bags[1])


@pytest.mark.parametrize("column", ["tfidf", "ngrams"])
def test_linear_models_learn_texts_pairs_and_spans(column: str, monkeypatch: pytest.MonkeyPatch) -> None:
    short = {"least_steps": 1, "epochs": 10, "learning_rate": 0.02}
    monkeypatch.setattr(linear, "hyper", lambda *given: hyper(*given) | (short if column == "ngrams" else {}))
    assert linear.judge(column, task("text", text_rows), seed=0)["accuracy"] > 0.9
    assert linear.judge(column, task("spans", span_rows, train=40), seed=0)["f1"] > 0.95
    assert linear.judge(column, task("pair", pair_rows, train=400), seed=0)["accuracy"] > 0.8


def test_the_ngram_model_depends_on_its_seed_only_and_takes_bags_without_known_features() -> None:
    bags, targets = [(1, 2), (2, 3), (4,), (4, 5)], ["a", "a", "b", "b"]
    settings = {"width": 8, "batch_size": 2, "learning_rate": 0.05, "epochs": 30, "least_steps": 1}
    names, scores = fit_bags(bags, targets, settings, seed=0)([(1,), (5,), (99,), ()])
    assert [names[number] for number in scores.argmax(1)[:2]] == ["a", "b"]
    assert np.isfinite(scores).all()
    assert np.array_equal(fit_bags(bags, targets, settings, seed=0)([(1,)])[1], scores[:1])
    assert not np.array_equal(fit_bags(bags, targets, settings, seed=1)([(1,)])[1], scores[:1])


def test_tags_of_single_characters_are_decoded_in_order() -> None:
    rows = [Row("张三去")]
    scores = np.log([[0.1, 0.3, 0.6], [0.1, 0.2, 0.7], [0.9, 0.05, 0.05]])
    found = linear.decoded(["O", "B-PER", "I-PER"], scores, rows, ("LOC", "PER"))
    assert found == [[Span(0, 2, "PER")]], "a span begins with B, though I was more probable"
    assert span_scores([[Span(0, 2, "PER")]], found, ["LOC", "PER"])["f1"] == 1.0


def test_frames_are_read_where_their_slots_are_clear_and_learnt_without_pretraining(tmp_path: Path) -> None:
    lines = [{"text": text, "label": "a.B", "intent": "B", "slots": {"city": "北京"}} for text in ("去北京", "北京到北京", "回家")]
    with lzma.open(tmp_path / "rows.jsonl.xz", "wt", encoding="utf-8") as file:
        file.write("\n".join(map(json.dumps, lines)))
    assert read_rows(tmp_path / "rows.jsonl.xz") == [Row("去北京", "a.B", spans=(Span(1, 3, "city"),))]
    made = task("frames", frame_rows, train=60)
    assert made.labels == ("intent:订票", "intent:退票", "slot:city")
    scores = linear_answers.judge_frames(made)
    assert scores["frame_accuracy"] > 0.9
    assert scores["intent_accuracy"] >= scores["frame_accuracy"]


def test_draws_take_the_same_shots_for_everybody() -> None:
    rows = [Row(str(n), "few" if n < 3 else "many") for n in range(50)]
    drawn = probe.draw(rows, 16, seed=4)
    assert drawn == probe.draw(rows, 16, seed=4) != probe.draw(rows, 16, seed=5)
    assert len(drawn) == 3 + 16
    scores = probe.judge_linear("tfidf", task("probe", text_rows), seed=0)
    assert len(scores) == hyper("tfidf", SETS["probe16"])["draws"]
    assert np.mean([one["accuracy"] for one in scores]) > 0.8


@pytest.mark.parametrize(
    ("kind", "rows"), [("text", text_rows), ("pair", pair_rows), ("spans", span_rows), ("probe", text_rows), ("frames", frame_rows)]
)
def test_the_network_is_judged_on_every_kind_of_set(kind: str, rows: Callable[..., list[Row]], small_folder: Path) -> None:
    small = task(kind, rows, train=24, judged=8)
    scores, facts = neural.judge("random", small, seed=0, directory=small_folder, device="cpu")
    again, _ = neural.judge("random", small, seed=0, directory=small_folder, device="cpu")
    assert scores == again
    assert set(small.of.metrics) <= set(scores[0])
    assert (facts["steps"] > 0) if facts else kind == "probe"


def test_weights_that_were_never_trained_are_not_called_pretrained(small_folder: Path) -> None:
    shipped = neural.sources(None)
    if "pretrained" not in shipped:
        with pytest.raises(WeightsError, match="no trained weights yet"):
            neural.require_trained(shipped, None)
    own = neural.sources(small_folder)
    assert set(own) == {"random", "pretrained"}
    assert own["random"] != shipped["random"], "another shape"
    neural.require_trained(own, small_folder)


def test_a_sitting_goes_on_where_the_last_one_stopped(tmp_path: Path) -> None:
    class Counting:
        made: list[Key] = []  # noqa: RUF012
        stop = 3

        def make(self, key: Key) -> Cell:
            if len(self.made) == self.stop:
                raise KeyboardInterrupt
            self.made.append(key)
            return cell(key, 0.5)

    maker, store, said = Counting(), Store(tmp_path), list[str]()
    with pytest.raises(KeyboardInterrupt):
        run.make_missing(keys(), store, maker, said.append)  # type: ignore[arg-type]
    maker.stop = 10**6
    run.make_missing(keys(), store, maker, said.append)  # type: ignore[arg-type]
    assert maker.made == keys(), "each one once, in order"
    assert len(said) == len(keys())


def test_a_kept_cell_that_lies_is_found_out(tmp_path: Path) -> None:
    class Honest:
        def make(self, key: Key) -> Cell:
            return Cell(key, {"accuracy": [0.5]}, {"rows_digest": "r", "seconds": 0.1})

    store, key = Store(tmp_path), next(key for key in keys() if key.column == "tfidf")
    assert "none was made again" in run.check_cache(keys(), store, Honest())  # type: ignore[arg-type]
    store.put(cell(key, 0.5))
    assert "50.00" in run.check_cache(keys(), store, Honest())  # type: ignore[arg-type]
    store.put(cell(key, 0.51))
    with pytest.raises(DataError, match=r"says 0\.5100 .* made again it is 0\.5000"):
        run.check_cache(keys(), store, Honest())  # type: ignore[arg-type]


@pytest.mark.parametrize(("cap", "columns", "device", "fits"), [
    (100_000, COLUMNS, "cpu", True), (100_001, COLUMNS, "cpu", False), (None, COLUMNS, "cpu", False),
    (None, COLUMNS, "cuda", True), (None, ["tfidf"], "cpu", True), (0, ["tfidf"], "cpu", False),
])  # fmt: skip
def test_a_cpu_is_not_asked_for_full_cells(cap: int | None, columns: Sequence[str], device: str, fits: bool) -> None:
    if fits:
        run.check_cap(cap, columns, device)
    else:
        with pytest.raises(InputError, match="--tokens"):
            run.check_cap(cap, columns, device)


def test_without_data_the_benchmark_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NLPHUB_DATA", raising=False)
    with pytest.raises(SystemExit, match="NLPHUB_DATA"):
        quality.main(["--columns", "tfidf", "--results", str(tmp_path)])
    with pytest.raises(InputError, match="holds no real data"):
        data_folder(tmp_path)


def test_commands_that_only_read_train_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("NLPHUB_DATA", raising=False)
    common = ["--results", str(tmp_path / "none"), "--sets", "smp2017"]
    quality.main([*common, "--quick", "--json"])
    shown = capsys.readouterr()
    assert [row["scores"]["tfidf"] for row in json.loads(shown.out)["rows"]] == [None, None]
    assert "check: left out" in shown.err
    quality.main([*common, "--markdown"])
    assert capsys.readouterr().out.startswith("| set | score |")
    quality.main([*common, "--missing", "--columns", "tfidf", "random", "--seeds", "2"])
    assert "3 of 3 cells are missing" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()


@pytest.mark.real_data
def test_real_sets_fill_their_budget(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = paths.real_data()
    if folder is None:
        pytest.skip("NLPHUB_DATA is not set: this test reads labelled sets of a folder of real data")
    for name in ("smp2017", "ocnli", "cluener"):
        made = load_task(SETS[name], folder, tokens=2_000)
        assert 1_900 < made.facts["train_tokens"] <= 2_000
    quality.main(["--columns", "tfidf", "--sets", "ocnli", "--tokens", "2000", "--results", str(tmp_path)])
    assert "OCNLI" in capsys.readouterr().out
