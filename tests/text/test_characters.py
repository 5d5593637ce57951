import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlphub.errors import InputError, WeightsError
from nlphub.text import assembly
from nlphub.text.characters import CharacterTokenizer
from nlphub.text.encoding import Encoded
from nlphub.text.normalize import Table

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def rows(encoded: Encoded) -> list[tuple[list[int], list[int], list[tuple[int, int]], bool]]:
    """An encoded batch as the slow twin writes it."""
    edges = zip(encoded.starts[:-1], encoded.starts[1:], encoded.truncated.tolist(), strict=True)
    return [
        (encoded.ids[a:b].tolist(), encoded.types[a:b].tolist(), [(x, y) for x, y in encoded.offsets[a:b].tolist()], cut)
        for a, b, cut in edges
    ]


def test_a_text_becomes_cls_its_characters_and_sep(zh_char: CharacterTokenizer) -> None:
    encoded = zh_char.encode(["我 ABC\n買"])
    assert [zh_char.vocabulary[i] for i in encoded.ids] == ["[CLS]", "我", "a", "b", "c", "买", "[SEP]"]
    assert encoded.offsets.tolist() == [[0, 0], [0, 1], [2, 3], [3, 4], [4, 5], [6, 7], [0, 0]]
    assert encoded.types.tolist() == [0] * 7
    assert encoded.starts.tolist() == [0, 7]


def test_a_pair_has_two_types_and_offsets_into_its_own_text(zh_char: CharacterTokenizer) -> None:
    encoded = zh_char.encode(["一二", ""], ["  三", ""])
    assert [zh_char.vocabulary[i] for i in encoded.ids] == ["[CLS]", "一", "二", "[SEP]", "三", "[SEP]", "[CLS]", "[SEP]", "[SEP]"]
    assert encoded.types.tolist() == [0, 0, 0, 0, 1, 1, 0, 0, 1]
    assert encoded.offsets[4].tolist() == [2, 3]


def test_empty_texts_become_cls_sep_and_an_empty_batch_is_empty(zh_char: CharacterTokenizer) -> None:
    assert zh_char.encode(["", " \u200b\n"]).lists() == [[zh_char.cls_id, zh_char.sep_id]] * 2
    empty = zh_char.encode([])
    assert (len(empty), empty.ids.shape, empty.offsets.shape, empty.starts.tolist()) == (0, (0,), (0, 2), [0])
    assert len(zh_char.encode([], [])) == 0


def test_arrays_have_the_types_that_the_contract_names(zh_char: CharacterTokenizer) -> None:
    for encoded in (zh_char.encode(["好"]), zh_char.encode([]), zh_char.encode(["好"], ["不"])):
        assert [a.dtype for a in (encoded.ids, encoded.types, encoded.offsets, encoded.starts)] == [np.int64] * 4
        assert encoded.truncated.dtype == np.bool_


def test_text_cannot_write_special_entries(zh_char: CharacterTokenizer) -> None:
    ids = zh_char.encode(["[MASK][SEP][unused3]"]).ids[1:-1]
    assert (ids >= zh_char.ordinary).all()
    assert zh_char.decode(ids) == "[mask][sep][unused3]"


@given(texts=st.lists(st.text(st.characters(), max_size=40), max_size=6), max_length=st.integers(3, 40))
@settings(max_examples=150, deadline=None)
def test_single_texts_agree_with_the_slow_twin(
    zh_char: CharacterTokenizer, slow_encode: Callable[..., Any], texts: list[str], max_length: int
) -> None:
    assert rows(zh_char.encode(texts, max_length=max_length)) == [slow_encode(text, max_length=max_length) for text in texts]


@given(batch=st.lists(st.tuples(st.text(max_size=30), st.text(max_size=30)), max_size=6), max_length=st.integers(4, 40))
@settings(max_examples=150, deadline=None)
def test_pairs_agree_with_the_slow_twin(
    zh_char: CharacterTokenizer, slow_encode: Callable[..., Any], batch: list[tuple[str, str]], max_length: int
) -> None:
    texts, pairs = [a for a, _ in batch], [b for _, b in batch]
    assert rows(zh_char.encode(texts, pairs, max_length=max_length)) == [slow_encode(a, b, max_length=max_length) for a, b in batch]


@pytest.mark.parametrize(
    ("first", "second", "room", "kept"), [(10, 2, 8, (6, 2)), (2, 10, 8, (2, 6)), (9, 9, 8, (4, 4)), (9, 9, 7, (4, 3)), (3, 4, 9, (3, 4))]
)
def test_pairs_are_cut_longest_first(zh_char: CharacterTokenizer, first: int, second: int, room: int, kept: tuple[int, int]) -> None:
    encoded = zh_char.encode(["一" * first], ["二" * second], max_length=room + 3)
    assert ((encoded.ids == zh_char.vocabulary.index("一")).sum(), (encoded.ids == zh_char.vocabulary.index("二")).sum()) == kept
    assert encoded.truncated.tolist() == [kept != (first, second)]


def test_a_batch_of_many_chunks_equals_its_texts_one_by_one(zh_char: CharacterTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"第{i}句，" * (i % 7) for i in range(200)]
    pairs = [f"Ａ {i}" * (i % 5) for i in range(200)]
    whole = zh_char.encode(texts), zh_char.encode(texts, pairs, max_length=16)
    monkeypatch.setattr(assembly, "CHUNK", 50)
    for one, other in zip(whole, (zh_char.encode(texts), zh_char.encode(texts, pairs, max_length=16)), strict=True):
        assert rows(one) == rows(other)


def test_only_the_first_code_points_of_a_text_are_looked_at(zh_char: CharacterTokenizer) -> None:
    cap = 16 * zh_char.max_length
    last, beyond = zh_char.encode([" " * (cap - 1) + "好", " " * cap + "好"]).lists()
    assert (len(last), len(beyond)) == (3, 2)
    assert zh_char.encode(["好" + " " * cap, " " * cap]).truncated.tolist() == [True, False]


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (["好", None], "texts\\[1\\] is NoneType \\(None\\)"),
        ([b"x", "好", 3.5], "2 of 3 texts are not strings\n  - texts\\[0\\] is bytes \\(b'x'\\)\n  - texts\\[2\\] is float"),
        ("好", "texts is a single str, not a list of texts"),
        (b"x", "texts is a single bytes"),
        (None, "texts is a single NoneType"),
        (7, "texts is a single int"),
    ],
)
def test_what_is_not_a_list_of_strings_is_named(zh_char: CharacterTokenizer, texts: Any, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        zh_char.encode(texts)


def test_wrong_pairs_are_named(zh_char: CharacterTokenizer) -> None:
    with pytest.raises(InputError, match="2 texts have 1 pairs"):
        zh_char.encode(["a", "b"], ["c"])
    with pytest.raises(InputError, match="pairs\\[0\\] is NoneType"):
        zh_char.encode(["a"], [None])  # type: ignore[list-item]


@pytest.mark.parametrize("max_length", [0, 2, -1, 513, True, 10.0, "64"])
def test_a_max_length_out_of_range_is_an_error_with_the_range(zh_char: CharacterTokenizer, max_length: Any) -> None:
    with pytest.raises(InputError, match="whole number from 3 to 512"):
        zh_char.encode(["好"], max_length=max_length)


def test_a_pair_needs_one_more_special_token(zh_char: CharacterTokenizer) -> None:
    with pytest.raises(InputError, match="whole number from 4 to 512"):
        zh_char.encode(["好"], ["好"], max_length=3)
    assert zh_char.encode(["好"], ["好"], max_length=4).lengths.tolist() == [4]


def test_texts_may_be_numpy_strings_tuples_and_generators(zh_char: CharacterTokenizer) -> None:
    expected = zh_char.encode(["好", "坏"]).lists()
    assert zh_char.encode(np.array(["好", "坏"])).lists() == expected  # type: ignore[arg-type]
    assert zh_char.encode(("好", "坏")).lists() == expected
    assert zh_char.encode(iter(["好", "坏"])).lists() == expected  # type: ignore[arg-type]


def test_decode_gives_the_normalised_text_back(zh_char: CharacterTokenizer) -> None:
    text = "訂單 ABC１２，還沒到！"
    assert zh_char.decode(zh_char.encode([text]).ids) == zh_char.table.normalize(text) == "订单abc12,还没到!"
    assert zh_char.decode([zh_char.cls_id, zh_char.mask_id, zh_char.unknown_id, zh_char.pad_id]) == "[MASK][UNK]"
    assert zh_char.decode([]) == ""
    with pytest.raises(InputError, match="8192 is not an id of this tokenizer; ids go from 0 to 8191"):
        zh_char.decode([0, 8192])


def test_tokenizers_of_equal_files_share_their_lookup_table(zh_char: CharacterTokenizer, tmp_path: Path) -> None:
    zh_char.save(tmp_path)
    again = CharacterTokenizer.load(tmp_path)
    assert again.digest == zh_char.digest
    assert again._lookup is zh_char._lookup
    assert again.table.codes is zh_char.table.codes


def test_another_vocabulary_or_table_has_another_digest() -> None:
    one = CharacterTokenizer([*SPECIAL, "a"], Table.parse("0041\ta\n"))
    assert one.digest != CharacterTokenizer([*SPECIAL, "b"], Table.parse("0041\ta\n")).digest
    assert one.digest != CharacterTokenizer([*SPECIAL, "a"], Table.parse("")).digest
    assert one.digest == CharacterTokenizer([*SPECIAL, "a"], Table.parse("0041\ta\n"), max_length=32).digest


@pytest.mark.parametrize(
    ("vocabulary", "complaint"),
    [
        (["a"], "lacks .*PAD"),
        ([*SPECIAL, "a", "a"], "1 repeated"),
        ([*SPECIAL, "a", "ab"], "not single characters.*'ab'"),
        ([*SPECIAL, "A"], "that the table keeps, e.g. \\['A'\\]"),
        ([*SPECIAL, ""], "not single characters"),
        ([*SPECIAL, *map(chr, range(0x4E00, 0x4E00 + 70_000))], "fewer than 65535 are possible"),
    ],
)
def test_a_vocabulary_that_cannot_work_is_refused(vocabulary: list[str], complaint: str) -> None:
    with pytest.raises(WeightsError, match=complaint):
        CharacterTokenizer(vocabulary, Table.parse("0041\ta\n"))


def test_importing_and_using_the_tokenizer_loads_no_segmenter_and_no_torch() -> None:
    code = (
        "import sys; from pathlib import Path; from nlphub.text.tokenizers import load_tokenizer; "
        "load_tokenizer(Path('tokenizers/zh_char')).encode(['好']); "
        "print(sorted({'jieba', 'rjieba', 'torch', 'pydantic'} & set(sys.modules)))"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True, env={"PYTHONPATH": str(root)})
    assert done.stdout.strip() == "[]"
