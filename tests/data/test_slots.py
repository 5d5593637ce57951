"""Slots by their values: found where they clearly stand, and everything that is unclear is reported with its row, all at once."""

import itertools
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import nlphub as hub
from nlphub.data.slots import to_slots
from nlphub.data.spans import Span


def all_ways(text: str, items: Sequence[tuple[str, str]]) -> set[tuple[Span, ...]]:
    """The slow obvious twin: every choice of places, those with an overlap thrown away."""
    places = [[Span(at, at + len(value), label) for at in range(len(text)) if text.startswith(value, at)] for label, value in items]
    ways = [tuple(sorted(way)) for way in itertools.product(*places)]
    return {way for way in ways if all(a.end <= b.start for a, b in itertools.pairwise(way))}


@pytest.mark.parametrize(
    ("text", "slots", "expected"),
    [
        ("订明天去北京的票", {"日期": "明天", "城市": "北京"}, [(1, 3, "日期"), (4, 6, "城市")]),
        ("从北京到北京西站", {"出发": "北京", "到达": "北京西站"}, [(1, 3, "出发"), (4, 8, "到达")]),
        ("先去上海再去天津", {"城市": ["天津", "上海"]}, [(2, 4, "城市"), (6, 8, "城市")]),
        ("好好", {"词": ["好", "好"]}, [(0, 1, "词"), (1, 2, "词")]),
        ("买3个", {"数量": 3}, [(1, 2, "数量")]),
        ("随便", {"日期": None, "城市": []}, []),
        ("随便", {}, []),
        ("随便", "", []),
        ("去北京", '{"城市": "北京"}', [(1, 3, "城市")]),
        ("去北京", [{"start": 1, "end": 3, "label": "城市"}], [(1, 3, "城市")]),
        ("去北京", '[[1, 3, "城市"]]', [(1, 3, "城市")]),
        ("\U0001f600去\u200b北京", {"城市": "北京"}, [(3, 5, "城市")]),
    ],
)
def test_values_are_found_where_they_stand(text: str, slots: Any, expected: list[tuple[int, int, str]]) -> None:
    found = to_slots(text, slots)
    assert found == tuple(Span(*one) for one in expected)
    assert to_slots(text, None) is None


@pytest.mark.parametrize(
    ("text", "slots", "said"),
    [
        ("去北京", {"城市": "上海", "日期": "明天"}, ["'上海' of slot '城市' is not in the text", "'明天' of slot '日期' is not"]),
        ("蝎子王蝎子王", {"片名": "蝎子王"}, ["'蝎子王' (片名) stands 2 times", "give places"]),
        ("从北京到北京", {"出发": "北京", "到达": "北京"}, ["'北京' (出发) stands 2 times", "'北京' (到达) stands 2 times"]),
        ("佛山大良汽车站", {"城市": "佛山", "站": "佛山大良汽车站"}, ["on top of each other"]),
        ("好", {"词": ["好", "好"]}, ["on top of each other"]),
        ("去北京", {"城市": ""}, ["slot '城市' has '' for a value"]),
        ("去北京", {"城市": {"名": "北京"}}, ["for a value"]),
        ("去北京", "{城市: 北京}", ["is no JSON of slots"]),
        ("去北京", '"北京"', ["is not a list of spans"]),
        ("去北京", 7, ["is not a list of spans"]),
        ("去北京", ["北京"], ["is not a span"]),
        ("好" * 300, {"词": ["好"] * 201}, ["201 values of slots"]),
        ("啊" * 60, {str(n): ["啊"] * 9 for n in range(7)}, ["is not clear", "on top"]),
    ],
)  # fmt: skip
def test_what_is_unclear_is_refused(text: str, slots: Any, said: list[str]) -> None:
    with pytest.raises(TypeError) as caught:
        to_slots(text, slots)
    found = [part in str(caught.value) for part in said]
    assert all(found) or (len(text) == 60 and any(found))


def test_places_are_those_of_the_only_choice_that_there_is() -> None:
    source, seen = random.Random(3), {0: 0, 1: 0, 2: 0}
    for _ in range(2000):
        text = "".join(source.choice("甲乙丙") for _ in range(source.randint(1, 9)))
        cuts = [sorted(source.sample(range(len(text) + 1), 2)) for _ in range(source.randint(1, 3))]
        items = [(source.choice("xy"), text[a:b]) for a, b in cuts]
        ways = all_ways(text, items)
        seen[min(len(ways), 2)] += 1
        slots: dict[str, list[str]] = {}
        for label, value in items:
            slots.setdefault(label, []).append(value)
        if len(ways) == 1:
            assert to_slots(text, slots) == next(iter(ways))
        else:
            with pytest.raises(TypeError, match="on top of each other" if not ways else "is not clear"):
                to_slots(text, slots)
    assert min(seen.values()) > 100


def rows(*lines: dict[str, Any]) -> str:
    return "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)


GOOD = {"text": "订明天去北京的票", "intent": "订票", "slots": {"日期": "明天", "城市": "北京"}}


def test_a_file_of_values_and_one_of_places_give_the_same_examples(tmp_path: Path) -> None:
    places = {**GOOD, "slots": [[1, 3, "日期"], [4, 6, "城市"]]}
    none = {"text": "我要退货", "intent": "退货", "slots": {}}
    (tmp_path / "values.jsonl").write_text(rows(GOOD, none), "utf-8")
    (tmp_path / "places.jsonl").write_text(rows(places, {**none, "slots": []}), "utf-8")
    (tmp_path / "table.csv").write_text(
        'text,intent,slots\n订明天去北京的票,订票,"{""日期"": ""明天"", ""城市"": ""北京""}"\n我要退货,退货,\n', "utf-8"
    )
    read = [
        hub.load_data(tmp_path / name, label="intent", slots="slots")["train"] for name in ("values.jsonl", "places.jsonl", "table.csv")
    ]
    assert read[0] == read[1] == read[2] == hub.Examples.of([GOOD, none])
    assert read[0].digest() == read[1].digest()
    assert read[0].labels == ["订票", "退货"]
    assert read[0].spans == [(Span(1, 3, "日期"), Span(4, 6, "城市")), ()]


def test_all_bad_rows_are_reported_at_once_with_their_lines(tmp_path: Path) -> None:
    bad = [
        GOOD,
        {**GOOD, "slots": {"城市": "上海"}},
        {**GOOD, "slots": [[1, 3, "日期"], [2, 5, "城市"]]},
        {**GOOD, "slots": [[6, 99, "城市"]]},
        {**GOOD, "slots": [[3, 3, "城市"]]},
        {**GOOD, "intent": ""},
        {"text": "没有槽位", "intent": "订票"},
        {**GOOD, "text": "北京北京", "slots": {"城市": "北京"}},
    ]
    (tmp_path / "bad.jsonl").write_text(rows(*bad), "utf-8")
    with pytest.raises(hub.NlphubError) as caught:
        hub.load_data(tmp_path / "bad.jsonl", label="intent", slots="slots")
    told = "\n".join(caught.value.problems)
    for line, part in [(2, "'上海' of slot '城市' is not in"), (3, "overlap"), (4, "6:99"), (5, "3:3"), (6, "the intent is missing"),
                       (7, "the slots are missing"), (8, "stands 2 times")]:  # fmt: skip
        assert f"line {line}: " in told
        assert any(f"line {line}:" in problem and part in problem for problem in caught.value.problems), (line, part)
    assert "line 1:" not in told


def test_slots_stand_alone_among_the_kinds_of_answers(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(rows(GOOD), "utf-8")
    with pytest.raises(hub.NlphubError, match="Give one of"):
        hub.load_data(tmp_path / "rows.jsonl", label="intent", slots="slots", spans="slots")
    with pytest.raises(hub.NlphubError, match="no column 'slot'"):
        hub.load_data(tmp_path / "rows.jsonl", label="intent", slots="slot")
