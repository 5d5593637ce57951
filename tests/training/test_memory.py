"""Memory that a step on a CPU frees stays in the heap for the next step, and goes back when the training ends."""

import ctypes
import platform
import subprocess
import sys

import pytest
import torch

from nlphub.training.memory import freed_memory_kept

MIB = 2**20
STEP = """
import resource, sys, torch
from contextlib import nullcontext, suppress
from nlphub.training.memory import freed_memory_kept

def step():  # forty activations of 3 MiB, freed together
    return [torch.ones(3 * 2**18) for _ in range(40)]

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

inside = 0
with suppress(ZeroDivisionError), nullcontext() if sys.argv[1] == "plain" else freed_memory_kept(torch.device("cpu")):
    [step() for _ in range(3)]
    inside = faults()
    1 / (sys.argv[1] != "fails")
held = int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
print(inside, held)
"""
glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's heap is told")


def answered(how: str) -> tuple[int, int]:
    """Fresh pages of a step after the first ones, and bytes held in the end."""
    ran = subprocess.run([sys.executable, "-c", STEP, how], capture_output=True, text=True, check=True)
    faults, held = ran.stdout.split()
    return int(faults), int(held)


@glibc
@pytest.mark.parametrize("how", ["kept", "fails"])
def test_a_step_gets_the_memory_of_the_step_before_and_it_goes_back_in_the_end(how: str) -> None:
    (faults, held), (plain, held_plain) = answered(how), answered("plain")
    assert 10 * faults < plain
    assert held < held_plain + 16 * MIB


def test_other_devices_and_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def unwanted(*_: object) -> None:
        raise AssertionError("nobody may look for the C library")

    with monkeypatch.context() as patch:
        patch.setattr(ctypes, "CDLL", unwanted)
        with freed_memory_kept(torch.device("cuda")):
            pass
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    with freed_memory_kept(torch.device("cpu")):
        pass
