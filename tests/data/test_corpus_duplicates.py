"""What is kept of all sources together, against loops and sets of strings."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nlphub.data.corpus import counts, parts
from nlphub.data.corpus.duplicates import LONG_LINE, Choice
from nlphub.data.corpus.parts import DROPPED, TO_DEV, TO_TRAIN, Job, Part, part_paths, scan
from nlphub.data.corpus.quality import Rules
from nlphub.data.corpus.sources import Source
from nlphub.text.characters import CharacterTokenizer

Documents = list[list[str]]
TOKENIZER = Path(__file__).parents[2] / "tokenizers" / "zh_char"


@pytest.fixture
def choose(tmp_path: Path, text_file: Callable[..., Path]) -> Callable[..., Choice]:
    """``choose({"a": documents, "b": documents}, cap=...)`` scans the sources and makes a choice of everything."""

    def make(sources: dict[str, Documents], **facts: int) -> Choice:
        job = Job(tmp_path, TOKENIZER, "text", Rules())
        for name in ("scanned", "parts"):
            (job.work / name).mkdir(parents=True, exist_ok=True)
        found: list[tuple[Source, Path]] = []
        for name, documents in sources.items():
            source = Source(name, text_file(tmp_path / f"{name}.txt", documents), cap=facts.get(name))
            scan(job, source)
            found += [(source, path) for path in part_paths(job.work, name)]
        return Choice([Part.open(path) for _, path in found], [source for source, _ in found])

    return make


def kept(choice: Choice) -> Documents:
    """The lines that are left of each document."""
    result: Documents = []
    for number, part in enumerate(choice.parts):
        lines, fates = choice.of_part(number)
        text, edges = part.lines(), part.documents.tolist()
        for i, (a, b) in enumerate(itertools.pairwise(edges)):
            result.append([text[k] for k in range(a, b) if lines[k]] if fates[i] != DROPPED else [])
    return result


def slow(documents: Documents, normalize: Callable[[str], str]) -> Documents:
    """Equal documents, then equal long lines: the first one wins."""
    seen: set[str] = set()
    lines: set[str] = set()
    result = []
    for document in documents:
        whole = "".join(map(normalize, document))
        left = []
        for line in document if whole not in seen else ():
            text = normalize(line)
            if len(text) < LONG_LINE or text not in lines:
                left.append(line)
            if len(text) >= LONG_LINE:
                lines.add(text)
        seen.add(whole)
        result.append(left)
    return result


def test_the_first_copy_wins_everywhere(
    choose: Callable[..., Choice], documents: Callable[..., Documents], tokenizer: CharacterTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "PART", 900)
    generator = np.random.default_rng(0)
    pool = documents(60)
    lines = [line for document in pool for line in document] + ["好的，谢谢您", "再见，祝好"] * 20
    every = [pool[i] for i in generator.integers(0, 60, 50)]
    every += [[lines[i] for i in generator.choice(len(lines), 5, replace=False)] for _ in range(50)]
    every = [list(dict.fromkeys(every[i])) for i in generator.permutation(len(every))]
    every[70] = [line.replace("，", ",").replace("银行", "銀行") for line in every[3]]
    choice = choose({"b": every[:40], "a": every[40:45], "c": every[45:]})
    assert len(choice.parts) > 10
    choice.drop_equal_documents()
    choice.drop_equal_lines()
    assert kept(choice) == slow(every, tokenizer.table.normalize)
    assert sum(tally[counts.SAME_DOCUMENT][0] for tally in choice.counts.values()) > 10
    assert sum(tally[counts.SAME_LINE][1] for tally in choice.counts.values()) > 50


def test_a_line_of_a_dropped_document_does_not_take_its_only_copy_away(
    choose: Callable[..., Choice], documents: Callable[..., Documents]
) -> None:
    first, other = documents(2, lines=8)
    near = [*first[:-1], first[-1] + "补一句话"]
    choice = choose({"a": [first, near, [near[-1], *other]]})
    choice.drop_equal_documents()
    choice.drop_near_equal_documents()
    choice.drop_equal_lines()
    assert kept(choice) == [first, [], [near[-1], *other]]


def test_near_equal_documents_are_found_across_sources(choose: Callable[..., Choice], documents: Callable[..., Documents]) -> None:
    every = documents(10, lines=6)
    copies = [[*document[:5], document[5].replace("。", "！")] for document in every]
    choice = choose({"a": every, "b": copies})
    choice.drop_near_equal_documents()
    assert kept(choice) == every + [[]] * 10
    assert choice.counts["b"][counts.NEAR_DOCUMENT][:2] == (10, 60)
    assert counts.NEAR_DOCUMENT not in choice.counts["a"] or choice.counts["a"][counts.NEAR_DOCUMENT] == (0, 0, 0)


def test_a_share_is_held_out_and_never_of_tiny_sources(choose: Callable[..., Choice], documents: Callable[..., Documents]) -> None:
    choice = choose({"a": documents(200), "b": documents(25, seed=1), "c": documents(5, seed=2)})
    choice.hold_out(0.02, seed=0)
    assert [int((choice.of_part(i)[1] == TO_DEV).sum()) for i in range(3)] == [4, 1, 0]
    again = choose({"a": documents(200), "b": documents(25, seed=1), "c": documents(5, seed=2)})
    again.hold_out(0.02, seed=1)
    assert not np.array_equal(choice.fates, again.fates)


def test_a_cap_keeps_whole_documents_drawn_by_the_seed_and_spares_what_is_held_out(
    choose: Callable[..., Choice], documents: Callable[..., Documents]
) -> None:
    choice = choose({"a": documents(100), "b": documents(20, seed=1)}, a=3000)
    choice.hold_out(0.05, seed=0)
    choice.cap(seed=0)
    sizes = np.add.reduceat(choice.characters, choice.documents[:-1])
    a, b = slice(0, 100), slice(100, 120)
    assert 3000 - sizes.max() < sizes[a][choice.fates[a] == TO_TRAIN].sum() <= 3000
    assert (choice.fates[a] == TO_DEV).sum() == 5
    assert (choice.fates[b] != DROPPED).all()
    left = np.flatnonzero(choice.fates[a] == TO_TRAIN)
    assert left.min() < 25, "not only the end"
    assert left.max() > 75, "not only the beginning"
    documents_gone, lines_gone, characters_gone = choice.counts["a"][counts.CAPPED]
    assert documents_gone == (choice.fates[a] == DROPPED).sum()
    assert (lines_gone, characters_gone) == (4 * documents_gone, sizes[a][choice.fates[a] == DROPPED].sum())


def test_nothing_at_all_is_a_choice_too(choose: Callable[..., Choice]) -> None:
    for sources in ({}, {"a": []}, {"a": [], "b": [["好"]]}):
        choice = choose(sources)
        for step in (choice.drop_equal_documents, choice.drop_near_equal_documents, choice.drop_equal_lines):
            step()
        choice.hold_out(0.5, 0)
        choice.cap(0)
        assert kept(choice) == []
