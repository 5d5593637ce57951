"""The kernels over rows compile for sm_80 and sm_90, in 16-byte accesses, without spills, atomics or many registers."""

import re
from typing import Any

import pytest
import torch

pytest.importorskip("triton", reason="kernels are compiled with Triton, which is not installed")

FLOATS = ("eps", "scale", "decay", "rest1", "rest2", "log_beta1", "log_beta2")
NUMBERS = ("rows", "limit", "count", "kind", "length", "layer")
SINGLE = ("means", "factors", "partial", "rate", "step", "parameters", "gradients", "firsts", "seconds")


def arguments(kernel: Any, **constants: Any) -> dict[str, Any]:
    """Activations and copies in bfloat16, statistics and weights that are learnt in float32."""
    types = dict.fromkeys(kernel.arg_names, "*bf16") | dict.fromkeys(FLOATS, "fp32") | dict.fromkeys(NUMBERS, "i32")
    types |= (
        dict.fromkeys(("row_keys", "keys"), "*i32")
        | dict.fromkeys(SINGLE, "*fp32")
        | dict.fromkeys(("seed", "examples", "positions", "learnt"), "*i64")
    )
    if kernel.arg_names[0] == "parameters":
        types |= {"scale": "*fp32"}
    aligned = [name for name in kernel.arg_names if name not in constants and (types[name].startswith("*") or name == "length")]
    return {"types": types, "constants": constants, "aligned": aligned}


def check(found: Any, *, registers: int) -> None:
    assert (found.spills, found.registers <= registers) == (0, True), found.registers
    assert not re.search(r"\b(atom|red)\.", found.ptx)


@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize(
    ("width", "forward", "backward", "arch"),
    [(312, 64, 168, 90), (312, 64, 168, 80), (768, 64, 168, 90), (3072, 64, 200, 90), (4096, 64, 200, 80)],
)
def test_add_norm(compiled: Any, width: int, forward: int, backward: int, arch: int, shift: bool) -> None:
    from nlphub.kernels.triton.add_norm import backward_kernel, forward_kernel
    from nlphub.kernels.triton.tiles import tile

    size = tile(width)
    shape = {"WIDTH": width, "ROWS": size.rows, "COLUMNS": size.columns, "DROPOUT": True, "SHIFT": shift}
    found = compiled(forward_kernel, **arguments(forward_kernel, **shape), arch=arch, warps=size.warps)
    check(found, registers=forward)
    assert ".v4.b32" in found.ptx
    found = compiled(backward_kernel, **arguments(backward_kernel, **shape, APART=True), arch=arch, warps=size.warps)
    check(found, registers=backward)


def test_add_norm_of_two_types_and_without_dropout(compiled: Any) -> None:
    from nlphub.kernels.triton.add_norm import backward_kernel, forward_kernel

    shape = {"WIDTH": 312, "ROWS": 4, "COLUMNS": 512, "DROPOUT": False, "SHIFT": True}
    single = dict.fromkeys(("residual", "out", "weight", "bias", "shift", "grad", "dresidual"), "*fp32")
    for kernel, more in ((forward_kernel, {}), (backward_kernel, {"APART": True}), (backward_kernel, {"APART": False})):
        given = arguments(kernel, **shape, **more)
        given["types"] |= {name: kind for name, kind in single.items() if more.get("APART", True)}
        check(compiled(kernel, **given, arch=90, warps=4), registers=168)


@pytest.mark.parametrize("shifted", [False, True])
def test_the_launchers_of_add_norm_pass_what_the_kernels_take(shifted: bool, launched: Any) -> None:
    from nlphub.kernels.triton.add_norm import add_norm, add_norm_backward

    x, weight, keys = torch.zeros(9, 312, dtype=torch.bfloat16), torch.zeros(312), torch.zeros(9, dtype=torch.int32)
    rest = (weight if shifted else None, keys, 0.1)
    _, means, factors = add_norm(x, x, weight, weight, *rest, 1e-5)
    *_, dshift = add_norm_backward(x, x, x, weight, means, factors, *rest)
    assert len(dshift) == (312 if shifted else 0)
    sums = ["sum_kernel"] * (3 if shifted else 2)
    assert [name for name, _, _ in launched] == ["forward_kernel", "backward_kernel", *sums]


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_the_launcher_of_a_step_passes_what_the_kernel_takes(dtype: torch.dtype | None, launched: Any) -> None:
    from nlphub.kernels.triton.adamw_all import adamw_all_

    buffers = [[torch.zeros(48, 48), torch.zeros(5)] for _ in range(4)]
    copies, one = [] if dtype is None else [part.to(dtype) for part in buffers[0]], torch.ones(())
    adamw_all_(*buffers, copies, [one, one], one, one, one, 0.9, 0.999, 1e-8, 0.01)
    assert [(name, grid) for name, grid, _ in launched] == [("adamw_all_kernel", (3,)), ("adamw_all_kernel", (1,))]
    assert [".v4.b32" in kernel.asm["ptx"] for _, _, kernel in launched] == [True, False]


def test_bias_gelu(compiled: Any) -> None:
    from nlphub.kernels.triton.bias_gelu import backward_kernel, forward_kernel
    from nlphub.kernels.triton.tiles import tile

    size = tile(256)
    shape = {"WIDTH": 1248, "ROWS": size.rows, "COLUMNS": size.columns, "GELU": True}
    for kernel, registers in ((forward_kernel, 64), (backward_kernel, 96)):
        found = compiled(kernel, **arguments(kernel, **shape), arch=90, warps=size.warps)
        check(found, registers=registers)
        assert ".v4.b32" in found.ptx


def test_dropout_row_keys_and_sums(compiled: Any) -> None:
    from nlphub.kernels.triton.dropout import dropout_kernel, row_keys_kernel
    from nlphub.kernels.triton.tiles import sum_kernel, tile

    size = tile(312)
    shapes = {
        dropout_kernel: {"WIDTH": 312, "ROWS": size.rows, "COLUMNS": size.columns},
        row_keys_kernel: {"SITES": 5, "BLOCK": 256},
        sum_kernel: {"KINDS": 2, "WIDTH": 312, "ROWS": 32, "COLUMNS": 64},
    }
    for kernel, shape in shapes.items():
        check(compiled(kernel, **arguments(kernel, **shape), arch=90, warps=4), registers=64)


@pytest.mark.parametrize("arch", [80, 90])
@pytest.mark.parametrize("even", [False, True])
def test_adamw_of_many_tensors(compiled: Any, even: bool, arch: int) -> None:
    import triton.language as tl

    from nlphub.kernels.triton.adamw_all import adamw_all_kernel as kernel

    constants = {"GRADIENT": tl.float32, "COPY": tl.bfloat16, "EVEN": even, "BLOCK": 1024}
    given = arguments(kernel, **constants)
    given["types"] |= dict.fromkeys(("table", "sizes"), "*i64") | dict.fromkeys(("scale", "halted"), "*fp32") | {"blocks": "*i32"}
    given["aligned"] = ["table", "sizes", "blocks"]
    found = compiled(kernel, **given, arch=arch, warps=4)
    check(found, registers=64 if even else 128)
    assert (found.ptx.count(".v4.b32") >= 20) == even
    assert "cvt.rn.bf16" in found.ptx  # rounded to even, as torch and autocast do


def test_adamw_reads_and_writes_16_bytes_at_a_time(compiled: Any) -> None:
    from nlphub.kernels.triton.adamw import adamw_kernel, adamw_rows_kernel

    shapes = {adamw_kernel: {"BLOCK": 1024}, adamw_rows_kernel: {"WIDTH": 312, "ROWS": 4, "COLUMNS": 512}}
    for kernel, shape in shapes.items():
        found = compiled(kernel, **arguments(kernel, COPY=True, **shape), arch=90, warps=4)
        check(found, registers=96)
        assert ".v4.b32" in found.ptx
