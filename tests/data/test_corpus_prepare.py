"""The preparation as a whole: what comes out, that nothing but its inputs decides it, and that it survives being killed."""

import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nlphub.data.corpus import counts, parts
from nlphub.data.corpus.prepare import prepare_corpus
from nlphub.data.corpus.sources import find_sources, find_tokenizer
from nlphub.data.shards import Corpus, Shard
from nlphub.errors import DataError, InputError, StoreError
from nlphub.text.characters import CharacterTokenizer

Documents = list[list[str]]
SECRETS = ("请问这张信用卡的年费是多少钱一年？", "怎么查余额", "明天上午九点以后去柜台办理还来得及吗")


@pytest.fixture
def texts(tmp_path: Path, documents: Callable[..., Documents], text_file: Callable[..., Path]) -> Path:
    """Four sources with equal, near-equal and foreign documents and evaluation texts in them, and the evaluation data."""
    every = documents(120)
    every[7].insert(2, f"他问道：{SECRETS[0]}")
    every[9] += ["怎么查余额", SECRETS[2][:9], SECRETS[2][9:]]
    text_file(tmp_path / "texts" / "a.txt", every[:60])
    text_file(tmp_path / "texts" / "b.txt", [*every[60:100], every[3], [*every[4][:-1], every[4][-1] + "啊"], ["int main() {}"], ["好"]])
    text_file(tmp_path / "texts" / "d.txt", [])
    rows = [{"body": "\n".join(document)} for document in every[100:]] + [{"body": "坏\ud800的一行文字，其余都正常，可以留下来。"}]
    (tmp_path / "texts" / "c.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n{broken", encoding="utf-8")
    (tmp_path / "labelled").mkdir()
    (tmp_path / "labelled" / "test.jsonl").write_text("\n".join(json.dumps({"text": secret}) for secret in SECRETS), encoding="utf-8")
    return tmp_path


@pytest.fixture
def prepare(texts: Path) -> Callable[..., dict[str, Any]]:
    """``prepare("out", workers=2)`` prepares the texts into a folder of that name; returns the card."""

    def run(name: str, **options: Any) -> dict[str, Any]:
        given = {"exclude": [texts / "labelled"], "held_out": 0.1, "text": "body"} | options
        sources = given.pop("sources", None) or find_sources([texts / "texts"])
        return prepare_corpus(texts / name, sources, tokenizer=find_tokenizer("zh_char"), **given)

    return run


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock"
    }


def texts_of(folder: Path, tokenizer: CharacterTokenizer) -> Iterator[str]:
    for shard in Corpus.open(folder, tokenizer_digest=tokenizer.digest).values():
        yield from (tokenizer.decode(shard.ids[a:b]) for a, b in itertools.pairwise(shard.starts.tolist()))


def test_what_comes_out_is_the_text_tokenised(prepare: Callable[..., Any], texts: Path, tokenizer: CharacterTokenizer) -> None:
    prepare("out", held_out=0.0, exclude=[])
    shard = Shard.open(texts / "out" / "train" / "a-00000.safetensors")
    original = (texts / "texts" / "a.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n\n")
    assert len(shard) == len(original)
    for (a, b), document in zip(itertools.pairwise(shard.starts.tolist()), original, strict=True):
        lines = document.split("\n")
        expected = [tokenizer.encode([line]) for line in lines]
        assert shard.ids[a:b].tolist() == [i for encoded in expected for i in encoded.ids[1:-1].tolist()]
        flags = [tokenizer.words([line], encoded)[1:-1].tolist() for line, encoded in zip(lines, expected, strict=True)]
        assert shard.word_starts_of(a, b).tolist() == list(itertools.chain.from_iterable(flags))
    assert not set(shard.ids.tolist()) & {tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id}
    assert (shard.source, shard.weight) == ("a", 1.0)


def test_no_evaluation_text_survives(prepare: Callable[..., Any], texts: Path, tokenizer: CharacterTokenizer) -> None:
    card = prepare("out")
    grams = {text[i : i + 13] for text in map(tokenizer.table.normalize, SECRETS) for i in range(len(text) - 12)}
    found = [*texts_of(texts / "out" / "train", tokenizer), *texts_of(texts / "out" / "dev", tokenizer)]
    assert len(found) > 100
    assert not [text for text in found for gram in grams if gram in text]
    assert not [text for text in found if "查余额" in text]
    assert card["totals"]["steps"][counts.EVALUATION_GRAM][1] == 3
    assert card["totals"]["steps"][counts.EVALUATION_LINE][1] == 1


def test_the_card_accounts_for_every_document_line_and_character(prepare: Callable[..., Any], texts: Path) -> None:
    card = prepare("out")
    for source in [*card["sources"], card["totals"]]:
        steps = source["steps"]
        taken = np.sum([steps.get(step, [0, 0, 0]) for step in counts.DROPS], axis=0)
        left = np.sum([steps.get(step, [0, 0, 0]) for step in (counts.TRAIN, counts.DEV)], axis=0)
        np.testing.assert_array_equal(np.array(steps.get(counts.READ, [0, 0, 0])) - taken, left)
        assert source["train"]["tokens"] + source["dev"]["tokens"] == left[2], "one token for each character"
    by_name = {source["name"]: source for source in card["sources"]}
    assert by_name["b"]["steps"][counts.SAME_DOCUMENT][0] == 1
    assert by_name["b"]["steps"][counts.NEAR_DOCUMENT][0] == 1
    assert by_name["c"]["steps"][counts.UNREADABLE][1] == 1
    assert by_name["d"]["shards"] == []
    for shard in (shard for source in card["sources"] for shard in source["shards"]):
        opened = Shard.open(texts / "out" / shard["path"])
        assert (len(opened), opened.tokens, int(opened.word_starts.sum())) == (shard["documents"], shard["tokens"], shard["words"])
    assert json.loads((texts / "out" / "card.json").read_text("utf-8")) == card
    page = (texts / "out" / "README.md").read_text("utf-8")
    assert f"{card['totals']['train']['tokens']:,} tokens for training" in page
    assert "| a | 0.0 |" in page


def test_caps_weights_and_licences_arrive(prepare: Callable[..., Any], texts: Path, tokenizer: CharacterTokenizer) -> None:
    (texts / "c.yaml").write_text("a: {cap: 2000, weight: 0.25, licence: 'CC0 | 公有领域', origin: 自己写的}\n", encoding="utf-8")
    card = prepare("out", sources=find_sources([texts / "texts"], config=texts / "c.yaml"))
    (source,) = [source for source in card["sources"] if source["name"] == "a"]
    assert 1500 < source["train"]["tokens"] <= 2000
    assert Corpus.open(texts / "out" / "train", tokenizer_digest=tokenizer.digest)["a-00000"].weight == 0.25
    page = (texts / "out" / "README.md").read_text("utf-8")
    assert "CC0 \\| 公有领域 |" in page
    assert "- **a**: 自己写的" in page


def test_a_long_source_becomes_several_shards_with_the_same_text(
    prepare: Callable[..., Any], texts: Path, tokenizer: CharacterTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare("whole", held_out=0.0)
    monkeypatch.setattr(parts, "PART", 1500)
    prepare("cut", held_out=0.0)
    assert len(list((texts / "cut" / "train").iterdir())) > 6
    assert list(texts_of(texts / "cut" / "train", tokenizer)) == list(texts_of(texts / "whole" / "train", tokenizer))


def test_the_number_of_workers_changes_no_byte(prepare: Callable[..., Any], texts: Path) -> None:
    prepare("one")
    prepare("two", workers=2)
    assert content(texts / "one") == content(texts / "two")
    assert sorted(content(texts / "one"))[:2] == ["README.md", "card.json"]


def test_the_seed_decides_what_is_held_out(prepare: Callable[..., Any], texts: Path) -> None:
    prepare("one")
    prepare("two", seed=1)
    assert content(texts / "one" / "dev") != content(texts / "two" / "dev")


def test_a_second_run_has_nothing_to_do_and_mends_licences(
    prepare: Callable[..., Any], texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepare("out")
    before = content(texts / "out")
    monkeypatch.setattr("nlphub.data.corpus.prepare._prepare", lambda *arguments: pytest.fail("it began again"))
    assert prepare("out") == first
    assert content(texts / "out") == before
    (texts / "c.yaml").write_text("a: {licence: CC0}\n", encoding="utf-8")
    prepare("out", sources=find_sources([texts / "texts"], config=texts / "c.yaml"))
    assert "| CC0 |" in (texts / "out" / "README.md").read_text("utf-8")


def test_another_plan_is_refused_unless_it_may_overwrite(prepare: Callable[..., Any], texts: Path) -> None:
    prepare("out")
    before = content(texts / "out")
    with pytest.raises(InputError, match="--overwrite"):
        prepare("out", seed=5)
    with pytest.raises(InputError, match="--overwrite"):
        prepare("out", exclude=[])
    assert content(texts / "out") == before
    prepare("out", seed=5, overwrite=True)
    prepare("fresh", seed=5)
    assert content(texts / "out") == content(texts / "fresh")


def test_folders_of_others_are_left_alone(prepare: Callable[..., Any], texts: Path) -> None:
    for name in ("train", "README.md"):
        folder = texts / f"mine-{name}"
        (folder / name).mkdir(parents=True)
        for overwrite in (False, True):
            with pytest.raises(InputError, match="name another folder"):
                prepare(folder.name, overwrite=overwrite)
        assert (folder / name).exists()


def test_wrong_settings_are_told_at_once(prepare: Callable[..., Any], texts: Path) -> None:
    with pytest.raises(InputError) as caught:
        prepare_corpus(texts / "out", [], tokenizer=find_tokenizer("zh_char"), held_out=1.0, workers=0)
    assert len(caught.value.problems) == 3
    assert not (texts / "out").exists()


def test_two_runs_never_share_a_folder(prepare: Callable[..., Any], texts: Path) -> None:
    from nlphub import files

    with files.locked(texts / "out" / ".lock"), pytest.raises(StoreError, match="another process"):
        prepare("out")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_damaged_source_stops_the_run_with_its_name(prepare: Callable[..., Any], texts: Path, workers: int) -> None:
    (texts / "texts" / "e.txt.gz").write_bytes(b"no gzip at all")
    with pytest.raises(DataError, match=r"e\.txt\.gz cannot be unpacked"):
        prepare("out", workers=workers)
    (texts / "texts" / "e.txt.gz").unlink()
    prepare("out", workers=workers, overwrite=True)


def test_hostile_text_does_no_harm(prepare: Callable[..., Any], texts: Path, tokenizer: CharacterTokenizer) -> None:
    lines = [
        "龘" * 70_000,
        "\x00" * 500,
        "".join(map(chr, range(0x20, 0x3000))),
        "\u202e反转\u202c的文字在这里出现了",
        "𠮷野家的牛肉饭很好吃，还有👨‍👩‍👧‍👦一家人",
    ]
    (texts / "texts" / "e.txt").write_text("\n".join(lines) + "\n\n" + "没有标点也没有换行的很长很长的一段文字" * 20_000, encoding="utf-8")
    card = prepare("out", held_out=0.0)
    (source,) = [source for source in card["sources"] if source["name"] == "e"]
    assert source["train"]["tokens"] == source["steps"][counts.TRAIN][2] > 0
    assert all(len(text) <= 1 << 15 for text in texts_of(texts / "out" / "train", tokenizer))


SCRIPT = """
import os, signal, sys
from pathlib import Path
from nlphub import files
from nlphub.data.corpus import parts, prepare
from nlphub.data.corpus.sources import find_sources, find_tokenizer

def dying(function, nth):
    calls = iter(range(nth))
    def call(*arguments, **options):
        if next(calls, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call

def progress(what, done, total):
    import multiprocessing
    Path(sys.argv[1], "children").write_text(" ".join(str(child.pid) for child in multiprocessing.active_children()))
    if f"{what} {done}" == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    root, place, nth = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    if "." in place:
        module, name = place.split(".")
        module = {"parts": parts, "prepare": prepare, "files": files}[module]
        setattr(module, name, dying(getattr(module, name), int(nth)))
    prepare.prepare_corpus(
        root / "out", find_sources([root / "texts"]), tokenizer=find_tokenizer("zh_char"), exclude=[root / "labelled"],
        held_out=0.1, text="body", workers=2 if place == "workers" else 1, progress=progress,
        overwrite=place.startswith("files."),
    )
"""


def run_and_die(texts: Path, place: str, when: str) -> None:
    (texts / "script.py").write_text(SCRIPT, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, str(texts / "script.py"), str(texts), place, when], env=environment, capture_output=True, text=True
    )
    assert done.returncode == -9, done.stderr


PLACES = [
    ("parts.write_arrays", "0"),
    ("parts.write_arrays", "2"),
    ("parts.write_arrays", "5"),
    ("prepare.save_choice", "1"),
    ("parts.write_shard", "0"),
    ("parts.write_shard", "3"),
    ("prepare.markdown", "0"),
]


@pytest.mark.parametrize(("place", "nth"), PLACES)
def test_a_killed_run_goes_on_to_the_same_bytes(prepare: Callable[..., Any], texts: Path, place: str, nth: str) -> None:
    prepare("whole")
    run_and_die(texts, place, nth)
    assert not (texts / "out" / "card.json").exists()
    finished = {path: path.stat().st_mtime_ns for split in ("train", "dev") for path in (texts / "out" / split).glob("*.safetensors")}
    prepare("out")
    assert content(texts / "out") == content(texts / "whole")
    if (place, nth) == ("parts.write_shard", "3"):
        assert [path for path in finished if path.stat().st_mtime_ns == finished[path]], "finished shards are not made again"


@pytest.mark.parametrize(
    ("place", "nth"), [("files.discard_folder", "0"), ("files.publish_json", "0"), *(("files.discard_folder", n) for n in "12")]
)
def test_an_overwriting_run_may_be_killed_at_any_point(prepare: Callable[..., Any], texts: Path, place: str, nth: str) -> None:
    prepare("out", seed=5)
    prepare("whole")
    run_and_die(texts, place, nth)
    if (texts / "out" / "card.json").exists():
        prepare("out", seed=5)
        prepare("old", seed=5)
        assert content(texts / "out") == content(texts / "old"), "the old preparation is whole"
        prepare("out", overwrite=True)
    prepare("out")
    assert content(texts / "out") == content(texts / "whole")


def test_workers_end_with_a_killed_parent_and_the_run_goes_on(prepare: Callable[..., Any], texts: Path) -> None:
    prepare("whole")
    run_and_die(texts, "workers", "tokenising 1")
    children = (texts / "children").read_text().split()
    assert children
    while any(_runs(int(child)) for child in children):
        time.sleep(0.05)
    prepare("out", workers=2)
    assert content(texts / "out") == content(texts / "whole")


def _runs(process: int) -> bool:
    try:
        return not re.search(r"\) [ZX] ", Path(f"/proc/{process}/stat").read_text())
    except FileNotFoundError:
        return False
