"""The saved state of a training: what was saved comes back to the bit, and what is damaged is refused with the next command."""

import json
import os
import stat
from pathlib import Path

import pytest
import torch

from nlphub.errors import StoreError, WeightsError
from nlphub.training.state import Progress, load_state, save_state

PROGRESS = Progress(step=7, best_score=0.5, best_step=4, stale=1, fingerprint="f" * 64)


def trained() -> torch.optim.Optimizer:
    parameter = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3))
    optimizer = torch.optim.AdamW([parameter], lr=0.1)
    parameter.square().sum().backward()
    optimizer.step()
    return optimizer


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_state(tmp_path, optimizer=trained(), progress=PROGRESS)
    return tmp_path


@pytest.mark.parametrize("score", [None, 0.0, 1, 0.25])
def test_what_was_saved_comes_back(score: float | None, tmp_path: Path) -> None:
    progress, fresh = Progress(3, score, 0, 0, "f"), torch.optim.AdamW([torch.nn.Parameter(torch.zeros(2, 3))])
    save_state(tmp_path, optimizer=trained(), progress=progress)
    assert load_state(tmp_path, optimizer=fresh, fingerprint="f") == progress
    (ours,), (theirs,) = fresh.state_dict()["state"].values(), trained().state_dict()["state"].values()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_both_files_are_as_readable_as_their_folder(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        (tmp_path / "last").mkdir()
        save_state(tmp_path / "last", optimizer=trained(), progress=PROGRESS)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "last").iterdir()} == {0o640}


def changed(**facts: object) -> str:
    return json.dumps({"step": 1, "best_score": 0.5, "best_step": 1, "stale": 0, "fingerprint": "f", "sha256": "0" * 64} | facts)


@pytest.mark.parametrize(
    "text",
    [
        "",
        changed()[:40],
        changed()[:-1],
        "[]",
        "7",
        "{}",
        changed(extra=1),
        changed(step="7"),
        changed(step=True),
        changed(step=-1),
        changed(best_score="good"),
        changed(best_score=float("nan")),
        changed(stale=None),
        changed(fingerprint=7),
        changed(sha256=None),
        "[" * 50_000,
        "9" * 10_000,
        "\udcff",
        changed(fingerprint="f" * (1 << 22)),
    ],
    ids=lambda text: ascii(text)[:30],
)
def test_facts_that_are_torn_or_wrong_name_the_file_and_the_next_command(text: str, saved: Path) -> None:
    (saved / "training_state.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(StoreError, match=r"training_state\.json cannot be resumed from.*--overwrite"):
        load_state(saved, optimizer=trained(), fingerprint=PROGRESS.fingerprint)


def test_a_huge_file_of_facts_is_not_read_to_its_end(saved: Path) -> None:
    os.truncate(saved / "training_state.json", 1 << 40)  # a file with holes
    with pytest.raises(StoreError, match="longer than"):
        load_state(saved, optimizer=trained(), fingerprint=PROGRESS.fingerprint)


def test_another_run_is_refused(saved: Path) -> None:
    with pytest.raises(WeightsError, match="other settings"):
        load_state(saved, optimizer=trained(), fingerprint="e" * 64)


def test_tensors_that_have_changed_are_refused(saved: Path) -> None:
    with (saved / "training_state.safetensors").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(StoreError, match="has changed since it was written"):
        load_state(saved, optimizer=trained(), fingerprint=PROGRESS.fingerprint)


def test_half_a_state_is_none(saved: Path) -> None:
    (saved / "training_state.safetensors").unlink()
    with pytest.raises(StoreError, match="holds no training state"):
        load_state(saved, optimizer=trained(), fingerprint=PROGRESS.fingerprint)
