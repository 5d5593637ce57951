"""Tables of tiles that were timed on a card: read by its name, laid over the estimates, refused where they are none."""

import json
from pathlib import Path

import pytest

from nlphub.kernels.triton import plan, tuned


@pytest.fixture(autouse=True)
def _read_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tuned, "FOLDER", tmp_path)
    tuned.table.cache_clear()


def test_of_a_card_without_a_table_the_estimates_hold() -> None:
    assert tuned.table("forward", "NVIDIA H100 80GB HBM3") is plan.FORWARD
    assert tuned.table("backward", "none") is plan.BACKWARD


def test_what_was_timed_takes_the_place_of_the_estimate_and_of_nothing_else(tmp_path: Path) -> None:
    table = {"device": "NVIDIA H200", "forward": {"2x32": {"64": {"queries": 64, "warps": 8, "heads": 1}}}}
    (tmp_path / "nvidia-h200.json").write_text(json.dumps(table), "utf-8")
    forward = tuned.table("forward", "NVIDIA H200")
    assert forward[2, 32][64] == plan.Tile(64, 0, 8, 0, 0)
    assert forward[2, 32][32] is plan.FORWARD[2, 32][32]
    assert forward[2, 64] == plan.FORWARD[2, 64]
    assert plan.FORWARD[2, 32][64] != forward[2, 32][64], "the estimates stay"
    assert tuned.table("backward", "NVIDIA H200") == plan.BACKWARD
    assert plan.whole(forward, 64, 26, 2, 99 << 10) == forward[2, 32][64], "it ran on this card, so it fits"


@pytest.mark.parametrize(
    "timed",
    [
        {"8x32": {"64": {"queries": 16, "warps": 4, "heads": 1}}},
        {"2x32": {"64": {"queries": 16, "warps": 4}}},
        {"2x32": {"64": {"queries": 24, "warps": 4, "heads": 1}}},
        {"2x32": {"64": {"queries": 16, "warps": True, "heads": 1}}},
    ],
    ids=["shape", "missing", "no power of 2", "no number"],
)
def test_what_is_no_tile_is_refused(timed: dict[str, dict[str, dict[str, int]]]) -> None:
    with pytest.raises(ValueError, match="is no tile of the attention kernels"):
        tuned.merged(plan.FORWARD, timed)
