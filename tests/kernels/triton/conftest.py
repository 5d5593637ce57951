"""How kernels are proved without a GPU: run by Triton's interpreter, and compiled for chips that are not here.

``interpreted/`` holds ordinary tests that run kernels on the CPU. The interpreter is chosen when kernels are imported, so these tests run
in a process of their own (``test_interpreted.py`` starts it), and nobody else collects them. To run them alone::

    TRITON_INTERPRET=1 TRITON_DEFAULT_FP_FUSION=1 pytest tests/kernels/triton/interpreted

Products of bfloat16 are silently wrong in the interpreter of Triton 3.9.0: float32 and float16 only there. Compiling shows what the
interpreter cannot: types, layouts, registers, spills, shared memory, in bfloat16 too.
"""

import contextlib
import io
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

collect_ignore_glob = [] if os.environ.get("TRITON_INTERPRET") == "1" else ["interpreted", "interpreted/*"]


@dataclass(frozen=True, slots=True)
class Compiled:
    """What the assembler says: registers and spilled bytes of a thread, shared memory of a program in bytes; and the program's text."""

    registers: int
    spills: int
    shared: int
    ptx: str


@pytest.fixture
def compiled(tmp_path: Path) -> Callable[..., Compiled]:
    """``compiled(kernel, types=..., constants=..., arch=90, warps=4, aligned=...)``: compile one kernel, no GPU needed.

    ``types`` names every argument that is no constant: ``*bf16``, ``*fp32``, ``i32``, ``fp32``; those in ``aligned`` are multiples of 16.
    """
    triton = pytest.importorskip("triton", reason="kernels are compiled with Triton, which is not installed")

    def compile_one(
        kernel: Any, *, types: Mapping[str, str], constants: Mapping[str, Any], arch: int, warps: int, aligned: Sequence[str] = ()
    ) -> Compiled:
        signature = {name: "constexpr" if name in constants else types[name] for name in kernel.arg_names}
        attributes = {(kernel.arg_names.index(name),): [["tt.divisibility", 16]] for name in aligned if name in kernel.arg_names}
        source = triton.compiler.ASTSource(kernel, signature=signature, constexprs=dict(constants), attrs=attributes)
        log, knobs = io.StringIO(), triton.knobs
        with knobs.cache.scope(), knobs.compilation.scope(), knobs.nvidia.scope(), contextlib.redirect_stdout(log):
            knobs.cache.dir, knobs.compilation.always_compile, knobs.nvidia.dump_ptxas_log = str(tmp_path), True, True
            target = triton.backends.compiler.GPUTarget("cuda", arch, 32)
            result = triton.compile(source, target=target, options={"num_warps": warps, "num_stages": 1, "enable_fp_fusion": True})
        registers, spills = (re.search(pattern, log.getvalue()) for pattern in (r"Used (\d+) registers", r"(\d+) bytes spill stores"))
        assert registers is not None, log.getvalue()
        assert spills is not None, log.getvalue()
        return Compiled(int(registers[1]), int(spills[1]), result.metadata.shared, result.asm["ptx"])

    return compile_one


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[tuple[str, tuple[int, ...], Any]]]:
    """Names, grids and kernels of all launches, which do all but the launch itself: for that it takes a GPU.

    Arguments are bound, specialised and compiled for a card that is not here, of sm_80.
    """
    triton = pytest.importorskip("triton", reason="kernels are compiled with Triton, which is not installed")
    found: list[tuple[str, tuple[int, ...], Any]] = []

    def prepare(kernel: Any, grid: tuple[int, ...]) -> Any:
        return lambda *values, **named: found.append((kernel.__name__, grid, kernel.warmup(*values, grid=grid, **named)))

    target = triton.backends.compiler.GPUTarget("cuda", 80, 32)
    card = SimpleNamespace(get_current_device=lambda: 0, get_current_stream=lambda device: 0, get_current_target=lambda: target)
    monkeypatch.setattr(triton.runtime.driver, "_active", card)
    monkeypatch.setattr(triton.runtime.jit.JITFunction, "__getitem__", prepare)
    with triton.knobs.cache.scope():
        triton.knobs.cache.dir = str(tmp_path)
        yield found
    assert all(kernel.metadata.target == target for _, _, kernel in found)
