"""The plan names a tile for everything that the attention kernels take, and says why they do not take the rest."""

import math
import subprocess
import sys

import pytest

from nlphub.kernels.layout import BUCKETS
from nlphub.kernels.triton import plan

SMALL, LARGE = 99 * 1024, 227 * 1024  # bytes of shared memory of a program: on the smallest chip from sm_80 on, on sm_90


@pytest.mark.parametrize("shared", [SMALL, LARGE])
@pytest.mark.parametrize("size", plan.ITEM_SIZES)
@pytest.mark.parametrize("width", [1, 16, 26, 32, 33, 64, 100, 128])
def test_every_width_length_and_type_has_a_tile_that_fits(width, size, shared):
    for table, kernels in ((plan.FORWARD, ["forward"]), (plan.BACKWARD, ["queries", "keys"])):
        for bucket in BUCKETS:
            whole = plan.whole(table, bucket, width, size, shared)
            for tile in [whole] if whole else [plan.blocks(kernel, width, size) for kernel in kernels]:
                assert tile.shared <= shared
                assert all(math.log2(number).is_integer() for number in (tile.queries, tile.warps, tile.heads, tile.keys or bucket))
                assert tile.registers * tile.warps * 32 <= 65536


def test_warps_of_one_query_grow_with_its_keys():
    warps = [plan.single_warps(bucket, 64) for bucket in BUCKETS]
    assert warps == sorted(warps) == [2, 4, 8, 8, 8]


@pytest.mark.parametrize(("width", "padded"), [(1, 16), (16, 16), (17, 32), (26, 32), (64, 64), (65, 128), (128, 128)])
def test_a_head_is_padded_to_a_power_of_two(width, padded):
    assert plan.padded(width) == padded


def test_what_is_not_taken_has_its_reasons():
    assert plan.refusal(width=128, size=2, longest=256) is None
    assert plan.refusal(width=26, size=4, longest=1) is None
    reasons = plan.refusal(width=160, size=8, longest=512)
    for number in ("160", "128", "8 bytes", "512", "256"):
        assert number in reasons


def test_neither_the_kernels_nor_the_plan_import_triton():
    code = "import sys, nlphub.kernels, nlphub.kernels.triton.plan; sys.exit('triton' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
