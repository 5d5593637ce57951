"""Who does an operation: what the environment asks for, what works, what other devices get, and that one failure is told once."""

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nlphub import kernels
from nlphub.errors import InputError
from nlphub.kernels import Layout, adamw, cpu, dispatch, probes, reference
from nlphub.kernels.layout import Run
from nlphub.kernels.probes import Case
from nlphub.kernels.reference import Dropout

ROOT = Path(__file__).parents[2]
ATTENTION = Case("cuda", torch.bfloat16, 26, True, 64)
ROWS = Case("cuda", torch.bfloat16, 312, True)


@pytest.fixture(autouse=True)
def undecided(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("NLPHUB_KERNELS", raising=False)
    dispatch.forget()
    yield
    dispatch.forget()


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """As if there were an NVIDIA GPU; ``gpu(triton="no compiler")`` makes candidates of that name fail. Gives what was tried, in order."""

    def make(**faults: str) -> list[str]:
        tried: list[str] = []

        def fault(operation: str, candidate: dispatch.Candidate, case: Case) -> str | None:
            tried.append(f"{operation} {candidate.name}")
            return faults.get(candidate.name)

        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.version, "hip", None)
        monkeypatch.setattr(dispatch.importlib.util, "find_spec", lambda name: object())
        monkeypatch.setattr(dispatch, "_tried", fault)
        return tried

    return make


def chosen(case: Case = ATTENTION, operation: str = "attention") -> str:
    return dispatch.choose(operation, case).candidate.name


@pytest.mark.parametrize(("wanted", "route"), [("", "native"), ("auto", "native"), ("builtin", "cpu"), ("REFERENCE ", "reference")])
def test_on_a_cpu_the_environment_alone_decides(wanted: str, route: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NLPHUB_KERNELS", wanted)
    assert dispatch.on_cpu().__name__ == f"nlphub.kernels.{route}"


def test_the_front_door_goes_the_way_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NLPHUB_KERNELS", "reference")
    called = []
    monkeypatch.setattr(reference, "dropout", lambda x, dropped: called.append(x) or x)
    kernels.dropout(torch.ones(1, 2), Dropout(0.5, torch.zeros(1, dtype=torch.int32)))
    assert len(called) == 1


def test_a_wrong_value_lists_the_right_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NLPHUB_KERNELS", "cudnn")
    with pytest.raises(InputError, match="NLPHUB_KERNELS='cudnn' is none of auto, reference, builtin, triton"):
        kernels.bias_gelu(torch.ones(1, 2), torch.ones(2))


def test_triton_on_a_cpu_is_an_error_unless_its_interpreter_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NLPHUB_KERNELS", "triton")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(InputError, match=r"run on NVIDIA GPUs, and these tensors are on a cpu.*TRITON_INTERPRET=1"):
        dispatch.on_cpu()
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert dispatch.on_cpu().__name__ == "nlphub.kernels.operators"


def test_on_a_gpu_the_kernels_are_tried_once_for_each_case(gpu: Callable[..., list[str]]) -> None:
    tried = gpu()
    assert [chosen(), chosen(), chosen(ATTENTION._replace(bucket=128)), chosen(ROWS, "add_norm")] == ["triton"] * 4
    assert tried == ["attention triton", "attention triton", "add_norm triton"]


def test_a_kernel_that_fails_is_replaced_with_one_warning(gpu: Callable[..., list[str]], caplog: pytest.LogCaptureFixture) -> None:
    gpu(triton="RuntimeError: no compiler")
    with caplog.at_level(logging.INFO):
        assert chosen() == "groups"
        assert [chosen(ROWS, operation) for operation in dispatch.OPERATIONS[1:5]] == ["torch"] * 4
        assert chosen() == "groups"
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == 1
    assert "attention does not work for bfloat16 on this cuda device (RuntimeError: no compiler)" in warned[0]
    assert "explain()" in warned[0]


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (ATTENTION._replace(bucket=0), "flash"),
        (ATTENTION._replace(bucket=0, dropout=False), "varlen"),
        (ATTENTION._replace(bucket=0, dtype=torch.float32), "groups"),
        (ATTENTION._replace(width=136), "groups"),
        (ATTENTION._replace(width=136, dropout=False), "varlen"),
        (ATTENTION._replace(dtype=torch.float64), "groups"),
    ],
)
def test_what_the_kernels_are_not_made_for_goes_to_pytorch(case: Case, expected: str, gpu: Callable[..., list[str]]) -> None:
    gpu()
    assert chosen(case) == expected


def test_rows_that_do_not_fit_on_the_chip_go_to_pytorch(gpu: Callable[..., list[str]]) -> None:
    gpu()
    assert chosen(ROWS._replace(width=8193), "add_norm") == "torch"


def test_builtin_never_tries_our_kernels(gpu: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    tried = gpu(varlen="ImportError: no varlen")
    monkeypatch.setenv("NLPHUB_KERNELS", "builtin")
    assert [chosen(), chosen(ATTENTION._replace(dropout=False)), chosen(ROWS, "add_norm")] == ["groups", "flash", "torch"]
    assert not [name for name in tried if name.endswith("triton")]


def test_triton_that_was_asked_for_and_fails_is_an_error(gpu: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    gpu(triton="RuntimeError: no compiler")
    monkeypatch.setenv("NLPHUB_KERNELS", "triton")
    with pytest.raises(InputError, match=r"NLPHUB_KERNELS=triton: RuntimeError: no compiler. Unset"):
        chosen()
    assert chosen(ATTENTION._replace(bucket=0)) == "flash"  # for that it is not made
    with pytest.raises(InputError, match="Ascend"):
        chosen(ATTENTION._replace(device="npu"))


def test_amd_and_ascend_take_the_builtin_route_and_say_so(gpu: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    tried = gpu()
    monkeypatch.setattr(torch.version, "hip", "6.4")
    amd, ascend = kernels.explain("cuda", dtype=torch.bfloat16), kernels.explain("npu:0", dtype=torch.bfloat16)
    assert "an AMD device (ROCm 6.4) takes the built-in route" in amd
    assert "attention  varlen" in amd
    assert "an Ascend device takes the built-in route" in ascend
    assert "attention  groups" in ascend
    assert tried == ["attention varlen"]


def test_explain_names_every_objection(gpu: Callable[..., list[str]]) -> None:
    gpu(triton="RuntimeError: no compiler")
    text = kernels.explain("cuda", dtype=torch.bfloat16, dropout=True, longest=40)
    assert "attention  groups: equal-length neighbours" in text
    assert "not triton: RuntimeError: no compiler" in text
    assert "not varlen: it has no dropout" in text
    assert "not flash: its dropout masks are not the shared hash" in text


def test_without_a_gpu_explain_still_answers() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert kernels.explain("cuda").count("torch sees no NVIDIA GPU here") == len(dispatch.OPERATIONS)


@pytest.mark.parametrize("operation", dispatch.OPERATIONS[:4])
@pytest.mark.parametrize("dropout", [False, True])
def test_a_probe_finds_what_is_right_and_what_is_wrong(operation: str, dropout: bool) -> None:
    case = Case("cpu", torch.float32, 8, dropout, 16 if operation == "attention" else 0)
    function = getattr(cpu, operation)
    assert probes.fault(operation, function, case) is None
    wrong = probes.fault(operation, lambda *inputs, **options: function(*inputs, **options) * 1.5, case)
    assert str(wrong).startswith("its results are off by")
    assert probes.fault(operation, broken, case) == "RuntimeError: 'ptxas fatal'"


def test_a_probe_finds_a_norm_that_forgets_the_bias_before_it() -> None:
    case = Case("cpu", torch.float32, 8, True)
    forgetful = probes.fault("add_norm", lambda *inputs, shift, **options: cpu.add_norm(*inputs, **options), case)
    assert forgetful is not None
    still = probes.fault("add_norm", lambda *inputs, shift, **options: cpu.add_norm(*inputs, shift=shift.detach(), **options), case)
    assert "RuntimeError" in str(still)  # no gradient for it


def test_only_our_kernels_take_the_bias_of_a_product(gpu: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    rows, dropped = torch.ones(3, 8), Dropout(0.1, torch.zeros(3, dtype=torch.int32))
    for wanted, taken in (("", False), ("builtin", False), ("reference", False), ("triton", True)):
        monkeypatch.setenv("NLPHUB_KERNELS", wanted)
        monkeypatch.setenv("TRITON_INTERPRET", "1")
        dispatch.forget()
        assert kernels.takes_shift(rows, 8, dropped=dropped) is taken, wanted
    monkeypatch.setenv("NLPHUB_KERNELS", "auto")
    elsewhere = SimpleNamespace(is_cpu=False, device=torch.device("cuda"), dtype=torch.bfloat16)
    for faults, taken in (({}, True), ({"triton": "RuntimeError: no compiler"}, False)):
        gpu(**faults)
        dispatch.forget()
        assert kernels.takes_shift(elsewhere, 8, dropped=dropped) is taken
        assert kernels.takes_shift(elsewhere, 8193, dropped=None) is False


def test_a_probe_of_adamw() -> None:
    case = Case("cpu", torch.float32, 0, False)
    assert probes.fault("adamw_", adamw.plain_, case) is None
    assert probes.fault("adamw_", lambda *buffers, **options: adamw.plain_(*buffers, **options | {"step": 1}), case) is not None


def test_a_probe_of_adamw_for_many_tensors() -> None:
    case = Case("cpu", torch.float32, 0, False)
    assert probes.fault("adamw_all_", adamw.plain_all_, case) is None

    def deaf(*buffers: Any, halted: torch.Tensor, **options: Any) -> None:
        adamw.plain_all_(*buffers, halted=halted * 0, **options)

    def lazy(*buffers: Any, copies: Any, **options: Any) -> None:
        adamw.plain_all_(*buffers, **options)

    for wrong in (deaf, lazy):
        assert "off by" in str(probes.fault("adamw_all_", wrong, case))


def test_a_probe_of_keys_wants_every_bit() -> None:
    case = Case("cpu", torch.int64, 0, True)
    assert probes.fault("row_keys", reference.row_keys, case) is None
    assert probes.fault("row_keys", lambda *places: reference.row_keys(*places) ^ 1, case) is not None


def test_a_probe_disturbs_nobody() -> None:
    state = torch.get_rng_state()
    with torch.inference_mode():
        assert probes.fault("add_norm", cpu.add_norm, Case("cpu", torch.bfloat16, 8, True)) is None
    assert torch.equal(torch.get_rng_state(), state)


def test_a_cpu_never_meets_triton_nor_the_operators() -> None:
    code = (
        "import sys, torch; from nlphub import kernels; x = torch.ones(3, 4)\n"
        "kernels.attention(x, x, x, kernels.Layout((kernels.Run(0, 0, 1, 3),)), heads=2); kernels.add_norm(x, x, x[0], x[0], eps=1e-5)\n"
        "print({'triton', 'nlphub.kernels.operators', 'nlphub.kernels.triton.launchers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "set()"


def test_a_bucket_is_that_of_the_longest_sequence() -> None:
    layout = Layout((Run(0, 0, 2, 3), Run(6, 2, 1, 33)))
    assert [probes.bucket(layout.longest), probes.bucket(256), probes.bucket(257)] == [64, 256, 0]


def broken(*inputs: Any, **options: Any) -> Any:
    raise RuntimeError("ptxas fatal\nmore")
