"""The rejection benchmark on invented rows: what is held out is never trained on, and every figure is there."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import rejection
from judging.sets import Row

MATTERS = ("余额多少", "转账失败", "卡丢了", "开户", "利率", "网点", "汇率")
ROWS = [
    Row(f"{opening}{matter}{end}", label=f"意图{matter[0]}")
    for matter in MATTERS
    for opening in ("请问", "你好", "喂")
    for end in ("", "啊", "呢", "？")
]


@pytest.mark.parametrize("method", ["prototype", "finetune"])
def test_a_draw_is_judged_with_the_intents_it_never_saw(small_folder: Path, method: str) -> None:
    found = rejection.measure((ROWS, ROWS), method=method, seed=0, precision=0.5, directory=small_folder)
    assert len(found["held_out"]) == 5
    assert found["out_of_scope"] == 5 * 12
    assert found["examples"] == 2 * 12
    assert set(found["separations"]) == {"probability", "energy", "neighbours"}
    row = rejection.table([found]).splitlines()[1]
    assert f"{found['rejected']:.3f}" in row
