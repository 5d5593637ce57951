"""Correctness, determinism and races of every route, and the speed of attention against the memory that it has to touch."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from gpu_parts import clock
from gpu_parts.facts import Bar, Found, Row, Setting, fault, short
from gpu_parts.rows import Rows, attention_rows, expected, functions, other_rows
from gpu_parts.work import Load, Ours, lengths_of

_MIXED = (1, 2, 15, 16, 17, 31, 33, 64, 65, 127, 128, 129, 255, 256)
_RACE = Path(__file__).with_name("race.py")
_TOLERANCE = 2.0  # times the error of torch's own operations in bfloat16


def correctness(setting: Setting) -> Found:
    """Errors of results and gradients in bfloat16 against the definition in float32, beside those of torch's own calls in bfloat16."""
    found, worst = Found(), 0.0
    for rows, name in _cases(setting):
        right = expected(rows)
        usual: list[float] | None = None
        for route, function, why in reversed(list(functions(rows))):  # torch's own calls come last
            if function is None:
                found.rows.append(Row("correctness", f"{name}: {route}", {}, f"not for this case: {why}"))
                continue
            errors = [float((one.float() - other).abs().max()) for one, other in zip(rows.run(function), right, strict=True)]
            usual = usual or errors
            ratio = max(mine / max(theirs, 1e-6) for mine, theirs in zip(errors, usual, strict=True))
            worst = max(worst, ratio)
            figures = {"error of result": short(errors[0]), "of gradients": short(max(errors[1:])), "times torch's": short(ratio)}
            found.rows.append(Row("correctness", f"{name}: {route}", figures))
    found.bars.append(Bar("errors in bfloat16, times those of torch's own operations", worst, _TOLERANCE, "most"))
    return found


def determinism(setting: Setting) -> Found:
    """The same bits in two runs: of every route, of ten training steps, and of ten captured ones; and the race checker."""
    found, same = Found(), []
    for rows, name in _cases(setting):
        for route, function, _ in functions(rows):
            if function is not None:
                runs = [rows.run(function) for _ in range(2)]
                same.append(all(torch.equal(one, other) for one, other in zip(*runs, strict=True)))
                found.rows.append(Row("determinism", f"{name}: {route}", {"same bits": str(same[-1])}))
    load = Load("4x312", "mean 20", 4 if setting.dry else 64)
    for graphs in (False, True):
        told = _twice(lambda graphs=graphs: Ours(load, setting, graphs=graphs), 3 if setting.dry else 10)
        same.append(told is True)
        name = f"training steps, {load}, {'captured' if graphs else 'plain'}"
        found.rows.append(Row("determinism", name, {"same bits": str(told)}))
    found.bars.append(Bar("share of what gives the same bits in two runs", sum(same) / len(same), 1.0))
    found.rows.append(race_check(setting))
    return found


def race_check(setting: Setting) -> Row:
    """compute-sanitizer's race checker over our kernels, where it is installed."""
    tool = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")
    if setting.device.type != "cuda" or tool is None:
        return Row(
            "determinism",
            "racecheck",
            {},
            "not run: compute-sanitizer is not installed" if setting.device.type == "cuda" else "not run: no GPU",
        )
    command = [tool, "--tool", "racecheck", "--error-exitcode", "9", sys.executable, str(_RACE)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=150)
    except subprocess.TimeoutExpired:
        return Row("determinism", "racecheck", {}, "not finished in 150 s")
    summary = [line for line in (done.stdout + done.stderr).splitlines() if "RACECHECK SUMMARY" in line or "ERROR" in line]
    return Row("determinism", "racecheck", {"exit": done.returncode}, "; ".join(summary[-2:]))


def attention(setting: Setting) -> Found:
    """Forward and backward of attention with dropout, inputs not in the second-level cache, beside the floor of what has to be moved."""
    found = Found()
    ours_ms: dict[tuple[str, int], float] = {}
    peer_ms: dict[tuple[str, int], float] = {}
    floors: dict[tuple[str, int], float] = {}
    for lengths in ("mean 20",) if setting.dry else ("mean 20", "mean 64", "mean 128"):
        for heads, width in ((2, 16),) if setting.dry else ((12, 26), (12, 64)):
            tokens = 64 if setting.dry else 16384
            drawn = _until(lengths_of(lengths, tokens, dry=setting.dry), tokens)
            rows = attention_rows(drawn, setting, heads=heads, width=width, dropout=True)
            key, floor = (lengths, width), _floor(rows, setting)
            floors[key] = floor
            for route, function, why in functions(rows, own_masks=True):
                if function is None or (why := _does_not_run(rows, function)):
                    function, why = _flash(rows, route, why)
                if function is None:
                    found.rows.append(Row("attention", f"{lengths}, {heads} x {width}: {route}", {}, why))
                    continue
                taken = clock.kernel(lambda rows=rows, function=function: rows.run(function), setting)
                if route in ("triton", "operators"):
                    ours_ms[key] = taken
                if route == "flash":
                    peer_ms[key] = taken
                figures = {"ms": short(taken), "floor ms": short(floor), "times the floor": short(taken / floor)}
                found.rows.append(Row("attention", f"{lengths}, {heads} x {width}: {route}", figures, why))
    measured = [key for key in ours_ms if key[0] == "mean 20"] if setting.device.type == "cuda" else []
    times = max((ours_ms[key] / floors[key] for key in measured), default=None)
    gains = min((peer_ms[key] / ours_ms[key] for key in measured if key in peer_ms), default=None)
    found.bars.append(Bar("attention forward and backward at mean 20, times its memory floor", times, 2.0, "most"))
    found.bars.append(Bar("the same, times as fast as FlashAttention-2 varlen with dropout", gains, 3.0))
    return found


def _cases(setting: Setting) -> list[tuple[Rows, str]]:
    lengths = (1, 3, 17, 33) if setting.dry else _MIXED
    found = []
    for heads, width in ((2, 16),) if setting.dry else ((12, 26), (12, 32), (12, 64), (4, 128)):
        for dropout in (False, True):
            for single in (False, True):
                rows = attention_rows(lengths, setting, heads=heads, width=width, dropout=dropout, single=single)
                words = ("dropout" if dropout else "no dropout") + (", one query" if single else "")
                found.append((rows, f"attention {heads} x {width}, {words}"))
    rows_count, width, inner = (40, 48, 96) if setting.dry else (4096, 768, 3072)
    found.append((other_rows("add_norm", rows_count, width, setting), f"add_norm {width}"))
    found.append((other_rows("bias_gelu", rows_count, inner, setting), f"bias_gelu {inner}"))
    found.append((other_rows("dropout", rows_count, width, setting), f"dropout {width}"))
    return found


def _does_not_run(rows: Rows, function: Callable[..., Any]) -> str:
    """What a route says to this case, if it does not like it."""
    try:
        rows.run(function)
    except (RuntimeError, ValueError, ImportError) as error:
        return fault(error)
    return ""


def _flash(rows: Rows, route: str, why: str) -> tuple[Callable[..., Any] | None, str]:
    """FlashAttention is a peer here also where dispatch would not send it: its own masks change nothing about its speed."""
    if route != "flash" or rows.case.device != "cuda":
        return None, why
    from nlphub.kernels.builtin import flash

    fault = _does_not_run(rows, flash)
    return (None, fault) if fault else (flash, "a peer only: its masks are its own")


def _floor(rows: Rows, setting: Setting) -> float:
    """Milliseconds that the memory takes: q, k, v in and the result out; then those, its gradient and the three gradients."""
    (qkv,), out = rows.parts, rows.grad
    moved = 2 * qkv.numel() + out.numel() + qkv.numel() + out.numel()
    return moved * qkv.element_size() / setting.peaks.bytes * 1000.0


def _until(lengths: Any, tokens: int) -> list[int]:
    """The first of them that have so many tokens together, sorted as batches are."""
    return sorted(lengths[: int((lengths.cumsum() <= tokens).sum())].tolist())


def _twice(make: Callable[[], Callable[[], object]], steps: int) -> bool | str:
    """Whether two trainings from the same start end with the same bits."""
    digests = []
    for _ in range(2):
        try:
            step = make()
            for _ in range(steps):
                step()
            digests.append(_digest(step))
        except Exception as error:  # a route that does not work here is a finding
            return fault(error)
    return digests[0] == digests[1]


def _digest(step: Any) -> str:
    """Of the weights after a training."""
    told = hashlib.sha256()
    for weight in step.module.parameters():
        told.update(weight.detach().float().cpu().numpy().tobytes())
    return told.hexdigest()
