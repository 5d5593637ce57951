"""Every attention tile of the plan compiles for sm_80 and sm_90 and stays within the registers and the shared memory written beside it."""

import re
from typing import Any

import pytest
import torch

from nlphub.kernels.layout import BUCKETS
from nlphub.kernels.triton import plan

pytest.importorskip("triton", reason="kernels are compiled with Triton, which is not installed")

KINDS = {2: "bf16", 4: "fp32"}
WIDTHS = {32: 26, 64: 64, 128: 128}  # 26 of 32 columns: the masked and less aligned case needs more registers than 32
WHOLE = [
    (direction, *key, bucket, arch)
    for direction, table in (("forward", plan.FORWARD), ("backward", plan.BACKWARD))
    for key, row in table.items()
    for bucket in row
    for arch in (80, 90)
    if (arch == 90 and key[0] == 2) or (arch == 80 and (direction == "backward" or key[0] == 4 or bucket in (16, 256)))
]  # not the full product: forward tiles of 2 bytes are far from any limit on sm_80, and those of 4 bytes need a little less on sm_90
BLOCKS = [(name, *key, arch) for name, table in plan.BLOCKS.items() for key in table for arch in (80, 90) if key[0] == 2 or arch == 80]
SINGLE = [(direction, 2, 32, 16) for direction in ("forward", "backward")] + [
    (direction, size, columns, 256) for direction in ("forward", "backward") for size, columns in ((2, 32), (2, 64), (4, 128))
]


def arguments(
    kernel: Any, size: int, columns: int, tile: plan.Tile | None, keys: int, *, dropout: bool = True, kind: str | None = None
) -> dict[str, Any]:
    """Types, constants and what is aligned: as the launchers pass them for one QKV product."""
    width, constants = WIDTHS[columns], {"KEYS": keys, "DROPOUT": dropout, "PRECISION": "tf32x3" if size == 4 else "ieee"}
    constants |= {"WIDTH": width, "PADDED": columns, "ALIGNED": 16 if width % 16 == 0 else 8}
    constants |= {"QUERIES": tile.queries, "EACH": tile.heads} if tile else {}
    types = {name: f"*{kind or KINDS[size]}" if name.endswith("_rows") else "i32" for name in kernel.arg_names}
    types |= {"lse": "*fp32", "means": "*fp32", "factor": "fp32", "scale": "fp32"}
    types |= dict.fromkeys(("starts", "lengths", "order", "row_keys"), "*i32")
    aligned = [name for name, kind in types.items() if kind.startswith("*") or (width % 16 == 0 and name.endswith("_stride"))]
    return {"types": types, "constants": {n: v for n, v in constants.items() if n in kernel.arg_names}, "aligned": aligned}


def check(found: Any, tile: plan.Tile) -> None:
    assert (found.spills <= tile.spills, found.registers <= tile.registers, found.shared <= tile.shared) == (True, True, True), found
    assert "mma" in found.ptx  # the matrix units work
    assert not re.search(r"\b(atom|red)\.", found.ptx)  # nothing is added through memory


@pytest.mark.parametrize(("direction", "size", "columns", "bucket", "arch"), WHOLE)
def test_tiles_with_all_keys_on_the_chip_keep_their_budget(compiled, direction, size, columns, bucket, arch):
    from nlphub.kernels.triton.attention_rows import backward_kernel, forward_kernel

    kernel = {"forward": forward_kernel, "backward": backward_kernel}[direction]
    tile = {"forward": plan.FORWARD, "backward": plan.BACKWARD}[direction][size, columns][bucket]
    check(compiled(kernel, **arguments(kernel, size, columns, tile, bucket), arch=arch, warps=tile.warps), tile)


@pytest.mark.parametrize(("name", "size", "columns", "arch"), BLOCKS)
def test_tiles_of_blocks_of_keys_keep_their_budget(compiled, name, size, columns, arch):
    from nlphub.kernels.triton.attention_blocks import forward_blocks_kernel, keys_kernel, queries_kernel

    kernel = {"forward": forward_blocks_kernel, "queries": queries_kernel, "keys": keys_kernel}[name]
    tile = plan.BLOCKS[name][size, columns]
    check(compiled(kernel, **arguments(kernel, size, columns, tile, tile.keys), arch=arch, warps=tile.warps), tile)


@pytest.mark.parametrize(("direction", "size", "columns", "bucket"), SINGLE)
def test_kernels_of_one_query_keep_their_budget(compiled, direction, size, columns, bucket):
    from nlphub.kernels.triton.attention_single import single_backward_kernel, single_forward_kernel

    kernel = {"forward": single_forward_kernel, "backward": single_backward_kernel}[direction]
    warps = plan.single_warps(bucket, WIDTHS[columns])
    found = compiled(kernel, **arguments(kernel, size, columns, None, bucket), arch=90, warps=warps)
    allowed = plan.SINGLE_SPILLS.get((size, columns, bucket), 0) if direction == "backward" else 0
    assert found.spills <= allowed
    assert found.registers <= plan.SINGLE_REGISTERS
    assert found.shared <= 8192


def test_every_case_fits_into_the_shared_memory_of_small_chips():
    least = 99 * 1024
    for name in ("forward", "queries", "keys"):
        for (size, columns), row in (plan.FORWARD if name == "forward" else plan.BACKWARD).items():
            if all(plan.whole({(size, columns): row}, bucket, columns, size, least) for bucket in BUCKETS):
                continue  # no block of keys is ever asked for
            assert plan.blocks(name, columns, size).shared <= least


@pytest.mark.parametrize("name", ["forward", "backward", "forward blocks", "queries", "keys", "single forward", "single backward"])
def test_kernels_compile_in_float16_without_dropout(compiled, name):
    from nlphub.kernels.triton import attention

    kernel = getattr(attention, name.replace(" ", "_") + "_kernel")
    whole = {"forward": plan.FORWARD, "backward": plan.BACKWARD}
    tile = whole[name][2, 64][64] if name in whole else plan.BLOCKS.get(name.split()[0], {}).get((2, 64))
    single = name.startswith("single")
    given = arguments(kernel, 2, 64, None if single else tile, tile.keys or 64 if tile else 64, dropout=False, kind="fp16")
    found = compiled(kernel, **given, arch=90, warps=4 if single else tile.warps)
    assert found.spills == 0
    assert ".f16" in found.ptx


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize(("width", "heads"), [(26, 3), (128, 1)])
def test_the_launchers_pass_what_the_kernels_take(single, width, heads, monkeypatch, launched):
    from nlphub.kernels.triton import attention

    lengths, rows = (5, 256), 2 if single else 261
    monkeypatch.setattr(attention, "shared_memory", lambda device: 163 * 1024)
    d, where = width * heads, [torch.tensor(part, dtype=torch.int32) for part in ([0, 5], lengths, [0, 1])]
    q, k, v = torch.zeros(261, 3 * d, dtype=torch.bfloat16).chunk(3, dim=1)
    noise = {"counts": (1, 0, 0, 0, 1), "heads": heads, "probability": 0.1, "row_keys": torch.zeros(rows, dtype=torch.int32)}
    out, lse = attention.forward(q[:rows], k, v, *where, **noise)
    attention.backward(out, q[:rows], k, v, lse, *where, **noise)
    names, grids, _ = zip(*launched, strict=True)
    if single:
        assert names == ("single_forward_kernel",) * 2 + ("single_backward_kernel",) * 2
        assert set(grids) == {(heads,)}
    elif width == 26:
        assert names == ("forward_kernel",) * 2 + ("backward_kernel",) * 2
        assert grids == ((2,), (3,), (3,), (3,))  # two heads after one another in the first
    else:
        assert names == ("forward_kernel", "forward_kernel", "backward_kernel", "queries_kernel", "keys_kernel")
        assert grids == ((1,), (1,), (1,), (8,), (4,))
