"""The kernels over rows compile for sm_80 and sm_90, in 16-byte accesses, without spills, atomics or many registers."""

import re
from typing import Any

import pytest

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


@pytest.mark.parametrize(
    ("width", "forward", "backward", "arch"),
    [(312, 64, 168, 90), (312, 64, 168, 80), (768, 64, 168, 90), (3072, 64, 200, 90), (4096, 64, 200, 80)],
)
def test_add_norm(compiled: Any, width: int, forward: int, backward: int, arch: int) -> None:
    from nlphub.kernels.triton.add_norm import backward_kernel, forward_kernel
    from nlphub.kernels.triton.tiles import tile

    size = tile(width)
    shape = {"WIDTH": width, "ROWS": size.rows, "COLUMNS": size.columns, "DROPOUT": True}
    found = compiled(forward_kernel, **arguments(forward_kernel, **shape), arch=arch, warps=size.warps)
    check(found, registers=forward)
    assert ".v4.b32" in found.ptx
    found = compiled(backward_kernel, **arguments(backward_kernel, **shape, APART=True), arch=arch, warps=size.warps)
    check(found, registers=backward)


def test_add_norm_of_two_types_and_without_dropout(compiled: Any) -> None:
    from nlphub.kernels.triton.add_norm import backward_kernel, forward_kernel

    shape = {"WIDTH": 312, "ROWS": 4, "COLUMNS": 512, "DROPOUT": False}
    single = dict.fromkeys(("residual", "out", "weight", "bias", "grad", "dresidual"), "*fp32")
    for kernel, more in ((forward_kernel, {}), (backward_kernel, {"APART": True}), (backward_kernel, {"APART": False})):
        given = arguments(kernel, **shape, **more)
        given["types"] |= {name: kind for name, kind in single.items() if more.get("APART", True)}
        check(compiled(kernel, **given, arch=90, warps=4), registers=168)


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


def test_adamw_reads_and_writes_16_bytes_at_a_time(compiled: Any) -> None:
    from nlphub.kernels.triton.adamw import adamw_kernel, adamw_rows_kernel

    shapes = {adamw_kernel: {"BLOCK": 1024}, adamw_rows_kernel: {"WIDTH": 312, "ROWS": 4, "COLUMNS": 512}}
    for kernel, shape in shapes.items():
        found = compiled(kernel, **arguments(kernel, COPY=True, **shape), arch=90, warps=4)
        check(found, registers=96)
        assert ".v4.b32" in found.ptx
