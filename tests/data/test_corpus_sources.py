"""Sources: names, folders, caps, weights, licences, and all mistakes at once."""

from pathlib import Path

import pytest

from nlphub.data.corpus.sources import Source, find_sources, find_tokenizer
from nlphub.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("news.txt.zst", "chat.jsonl", "sub/law.v2.TXT", "README.md", ".hidden.txt", "sub/labels.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_gives_its_texts_by_name_and_files_keep_their_order(folder: Path) -> None:
    assert [source.name for source in find_sources([folder])] == ["chat", "news", "law.v2"]
    assert [source.name for source in find_sources([folder / "news.txt.zst", folder / "chat.jsonl"])] == ["news", "chat"]
    assert [source.name for source in find_sources([folder / "news.txt.zst", folder])] == ["news", "chat", "law.v2"]


def test_facts_come_from_the_config_and_from_options(folder: Path) -> None:
    config = folder / "sources.yaml"
    config.write_text("news: {cap: 100, weight: 0.5, licence: CC0-1.0, origin: 自采}\nchat: {weight: 2}\n", encoding="utf-8")
    news, chat, law = find_sources([folder / "news.txt.zst", folder], config=config, caps=["news=1_000", "law.v2=7"], weights=["news=1.5"])
    assert news == Source("news", folder / "news.txt.zst", cap=1000, weight=1.5, licence="CC0-1.0", origin="自采")
    assert (chat.weight, law.cap) == (2, 7)


def test_all_mistakes_are_told_at_once(folder: Path) -> None:
    config = folder / "sources.yaml"
    config.write_text("news: {caps: 100, weight: -1, licence: 3}\nchatt: {}\nchat: text\n", encoding="utf-8")
    (folder / "other").mkdir()
    (folder / "other" / "news.txt").touch()
    given = [folder / "news.txt.zst", folder / "other", folder / "chat.jsonl", folder / "README.md", folder / "gone.txt"]
    with pytest.raises(InputError) as caught:
        find_sources(given, config=config, caps=["chat", "chat=0", "nwes=3"], weights=["chat=x"])
    told = "\n".join(caught.value.problems)
    for part in (
        "'news' is the name of several files",
        "README.md is no text",
        "gone.txt does not exist",
        "news.caps is unknown. Did you mean 'cap'?",
        "the weight of 'news' is -1",
        "the licence of 'news' is 3",
        "'chatt' is no source here. Did you mean 'chat'?",
        "'chat' has to be the name of a source",
        "--cap 'chat' has to look like",
        "the cap of 'chat' is 0",
        "'nwes' is no source here. Did you mean 'news'?",
        "--weight 'chat=x' has to look like",
    ):
        assert part in told, part


@pytest.mark.parametrize(
    "text", ["- a\n- b\n", "news\n", "", "1: {}\n", "news: {weight: .nan}\n", "news: {cap: true}\n", "news: {cap: 1.5}\n"]
)
def test_a_config_of_another_shape_is_refused(folder: Path, text: str) -> None:
    (folder / "c.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError):
        find_sources([folder / "news.txt.zst"], config=folder / "c.yaml")


def test_an_empty_folder_and_a_missing_config_are_mistakes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no text"):
        find_sources([tmp_path])
    (tmp_path / "a.txt").touch()
    with pytest.raises(InputError, match="cannot be read"):
        find_sources([tmp_path / "a.txt"], config=tmp_path / "none.yaml")


def test_a_tokenizer_is_bundled_or_a_folder(tmp_path: Path) -> None:
    folder = find_tokenizer("zh_char")
    assert folder.name == "zh_char"
    assert find_tokenizer(str(folder)) == folder
    with pytest.raises(InputError, match="Did you mean 'zh_char'"):
        find_tokenizer("zh_chars")
    with pytest.raises(InputError, match="bundled are zh_char"):
        find_tokenizer(str(tmp_path))
