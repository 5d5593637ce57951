"""The contract of every folder in tokenizers/: data only, golden ids, a digest that holds, exact offsets."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nlphub.errors import StoreError, WeightsError
from nlphub.text.tokenizers import Tokenizer, load_tokenizer

TOKENIZERS = Path(__file__).resolve().parent.parent / "tokenizers"
FOLDERS = sorted(folder for folder in TOKENIZERS.iterdir() if folder.is_dir())
each_folder = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def golden(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "golden.jsonl").read_text(encoding="utf-8").splitlines()]


def test_zh_char_is_among_the_folders_and_none_holds_code() -> None:
    assert "zh_char" in [folder.name for folder in FOLDERS]
    assert list(TOKENIZERS.rglob("*.py")) == []


@each_folder
def test_a_folder_holds_a_readme_and_golden_ids(folder: Path) -> None:
    assert (folder / "README.md").read_text(encoding="utf-8").startswith("# ")
    assert len(golden(folder)) >= 20


@each_folder
def test_golden_texts_get_their_ids_and_offsets(folder: Path) -> None:
    rows = golden(folder)
    encoded = load_tokenizer(folder).encode([row["text"] for row in rows])
    assert encoded.lists() == [row["ids"] for row in rows]
    for i, row in enumerate(rows):
        assert encoded.offsets[encoded.starts[i] : encoded.starts[i + 1]].tolist() == row["offsets"]


@each_folder
def test_vocabulary_and_special_entries_are_as_the_manifest_says(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    manifest = json.loads((folder / "nlphub_tokenizer.json").read_text(encoding="utf-8"))
    assert manifest["digest"] == tokenizer.digest
    assert manifest["max_length"] == tokenizer.max_length
    ids = (tokenizer.pad_id, tokenizer.unknown_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id)
    assert [tokenizer.vocabulary[i] for i in ids] == [manifest["special"][name] for name in ("pad", "unknown", "cls", "sep", "mask")]
    assert len(set(tokenizer.vocabulary)) == len(tokenizer) == len(tokenizer.vocabulary)


@each_folder
def test_every_offset_points_at_what_its_token_means(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    for row in golden(folder):
        encoded = tokenizer.encode([row["text"]])
        for token, (start, end) in zip(encoded.ids[1:-1].tolist(), encoded.offsets[1:-1].tolist(), strict=True):
            assert tokenizer.encode([row["text"][start:end]]).ids[1:-1].tolist() == [token]


@each_folder
def test_decoding_and_encoding_again_changes_nothing(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    for row in golden(folder):
        ids = [i for i in row["ids"] if i != tokenizer.unknown_id]
        assert tokenizer.encode([tokenizer.decode(ids)]).ids.tolist() == ids


@each_folder
def test_words_and_masks_fit_the_tokens(folder: Path) -> None:
    tokenizer: Tokenizer = load_tokenizer(folder)
    texts = [row["text"] for row in golden(folder)]
    encoded = tokenizer.encode(texts)
    starts = tokenizer.words(texts, encoded)
    masked = tokenizer.mask(encoded, starts, generator=np.random.default_rng(0))
    assert starts.shape == masked.ids.shape == masked.targets.shape == encoded.ids.shape


@each_folder
def test_a_saved_tokenizer_is_the_same_tokenizer(folder: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(folder)
    tokenizer.save(tmp_path)
    again = load_tokenizer(tmp_path)
    assert (again.digest, again.vocabulary, again.max_length) == (tokenizer.digest, tokenizer.vocabulary, tokenizer.max_length)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (folder / path.name).read_bytes()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TOKENIZERS / "zh_char", tmp_path / "copy"))


def change(folder: Path, **values: Any) -> None:
    path = folder / "nlphub_tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


@pytest.mark.parametrize("name", ["vocab.txt", "folds.tsv"])
def test_a_changed_file_no_longer_has_the_promised_digest(copy: Path, name: str) -> None:
    promised = load_tokenizer(copy).digest
    path = copy / name
    path.write_bytes(path.read_bytes().replace("龄".encode(), "龘".encode()))
    with pytest.raises(WeightsError, match=f"digest [0-9a-f]{{64}}, promised is {promised}"):
        load_tokenizer(copy)


def test_line_ends_of_another_system_change_nothing(copy: Path) -> None:
    promised = load_tokenizer(copy).digest
    for name in ("vocab.txt", "folds.tsv"):
        path = copy / name
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert load_tokenizer(copy).digest == promised


@pytest.mark.parametrize("name", ["vocab.txt", "folds.tsv", "nlphub_tokenizer.json"])
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(StoreError, match=name):
        load_tokenizer(copy)


@pytest.mark.parametrize("name", ["vocab.txt", "folds.tsv", "nlphub_tokenizer.json"])
def test_bytes_that_are_not_text_are_a_clear_error(copy: Path, name: str) -> None:
    (copy / name).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StoreError, match=str(copy)):
        load_tokenizer(copy)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"kind": "bpe"}, "kind 'bpe'; this nlphub reads 'characters', 'wordpiece', 'subword'"),
        ({"version": 2}, "version 2"),
        ({"special": {"pad": "<pad>"}}, "<pad>"),
        ({"max_length": "512"}, "'max_length' \\(positive\\)"),
        ({"max_length": True}, "'max_length' \\(positive\\)"),
        ({"options": [1]}, "options wrongly"),
        ({"digest": None}, "'digest' \\(text\\)"),
    ],
)
def test_a_manifest_that_is_not_understood_is_refused(copy: Path, values: dict[str, Any], complaint: str) -> None:
    change(copy, **values)
    with pytest.raises(StoreError, match=complaint):
        load_tokenizer(copy)


def test_a_manifest_that_is_no_object_is_refused(copy: Path) -> None:
    (copy / "nlphub_tokenizer.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(StoreError, match="does not hold a JSON object"):
        load_tokenizer(copy)
