"""Which of several candidates does an operation: decided once for each case, by what is there and by what works, and explained.

On a CPU ``NLPHUB_KERNELS`` alone decides: ``auto`` is the route in C++, which goes on to PyTorch's operations wherever it does not fit.
Elsewhere candidates are asked in order, and the first one to which there is no objection is taken. The environment is read at the first
operation.
"""

import functools
import importlib
import importlib.util
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch

from nlphub import paths
from nlphub.errors import InputError
from nlphub.kernels import probes
from nlphub.kernels.layout import BUCKETS
from nlphub.kernels.probes import Case
from nlphub.kernels.route import Route
from nlphub.kernels.triton import WIDEST_ROW, plan

log = logging.getLogger(__name__)

OPERATIONS = ("attention", "add_norm", "bias_gelu", "dropout", "row_keys", "adamw_", "adamw_all_")
STEPS = ("adamw_", "adamw_all_")  # of an optimizer: of weights in float32, whatever activations are
_HALF = (torch.float16, torch.bfloat16)
_warned: list[str] = []


@dataclass(frozen=True, slots=True)
class Candidate:
    """A way to do an operation.

    Attributes:
        name: for :func:`nlphub.kernels.explain`.
        family: which value of ``NLPHUB_KERNELS`` asks for it.
        about: what it does.
        module: of its function, imported when it is needed.
        function: its name; empty for that of the operation.
        unfit: why it is not for a case, if it is not; asked before it is tried.
        tried: whether it is tried before it is used.
        own_masks: its dropout masks are not those of the reference.
    """

    name: str
    family: str
    about: str
    module: str
    unfit: Callable[[Case], str | None]
    function: str = ""
    tried: bool = True
    own_masks: bool = False

    def load(self, operation: str) -> Callable[..., Any]:
        """The function."""
        found: Callable[..., Any] = getattr(importlib.import_module(f"nlphub.kernels.{self.module}"), self.function or operation)
        return found


class Choice(NamedTuple):
    """What does an operation in a case, and the objections to what was asked before it, by name."""

    candidate: Candidate
    function: Callable[..., Any]
    objections: tuple[tuple[str, str], ...]


def no_triton_here(device: str) -> str | None:
    """Why our kernels do not run on this kind of device at all."""
    if device == "npu":
        return "an Ascend device takes the built-in route: the kernels are made and proven for NVIDIA"
    if device != "cuda":
        return f"there are no Triton kernels for {device} devices"
    if torch.version.hip:
        return f"an AMD device (ROCm {torch.version.hip}) takes the built-in route: the kernels are made and proven for NVIDIA"
    if not torch.cuda.is_available():
        return "torch sees no NVIDIA GPU here"
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed (torch for CUDA brings it along; otherwise: pip install triton)"
    return None


def _unfit_for_triton(case: Case) -> str | None:
    if case.dtype not in (torch.float32, *_HALF):
        return f"the kernels are not made for {_name(case.dtype)}"
    return None


def _unfit_for_triton_attention(case: Case) -> str | None:
    return _unfit_for_triton(case) or plan.refusal(width=case.width, size=case.dtype.itemsize, longest=case.bucket or BUCKETS[-1] + 1)


def _unfit_for_triton_rows(case: Case) -> str | None:
    if case.width > WIDEST_ROW:
        return f"rows are {case.width} wide, and the kernel holds up to {WIDEST_ROW}"
    return _unfit_for_triton(case)


def _unfit_for_triton_adamw(case: Case) -> str | None:
    return None if case.dtype == torch.float32 else f"weights that are learnt are float32 there, and these are {_name(case.dtype)}"


def _unfit_for_varlen(case: Case) -> str | None:
    if case.dropout:
        return "it has no dropout"
    return _unfit_for_flash(case)


def _unfit_for_flash(case: Case) -> str | None:
    if case.device != "cuda":
        return "it is an operator of CUDA devices"
    if case.dtype not in _HALF:
        return f"it wants half precision, and this is {_name(case.dtype)}"
    if case.dropout and case.bucket:
        return f"its dropout masks are not the shared hash, so it serves sequences above {BUCKETS[-1]} tokens only"
    return None


def _fit(case: Case) -> None:
    return None


_TRITON = Candidate("triton", "triton", "kernels of nlphub in Triton", "operators", _unfit_for_triton_rows)
_ROWS = (_TRITON, Candidate("torch", "builtin", "calls of torch", "cpu", _fit, tried=False))
_ATTENTION = (
    Candidate("triton", "triton", "kernels of nlphub in Triton, whole rows on the chip", "operators", _unfit_for_triton_attention),
    Candidate("varlen", "builtin", "torch.nn.attention.varlen", "builtin", _unfit_for_varlen, "varlen"),
    Candidate("flash", "builtin", "FlashAttention with masks of torch's generator, not of the hash", "builtin", _unfit_for_flash, "flash",
              own_masks=True),
    Candidate("groups", "builtin", "equal-length neighbours as dense blocks", "cpu", _fit, tried=False),
)  # fmt: skip
_KEYS = (
    Candidate("triton", "triton", "all sites of several layers in one launch", "operators", _fit),
    Candidate("torch", "builtin", "calls of torch, site by site", "reference", _fit, tried=False),
)
_ADAMW = (
    Candidate("triton", "triton", "one pass, which writes the copy too", "operators", _unfit_for_triton_adamw),
    Candidate("torch", "builtin", "calls of torch", "adamw", _fit, "plain_", tried=False),
)
_ADAMW_ALL = (
    Candidate("triton", "triton", "one pass over all tensors, which writes their copies too", "operators", _unfit_for_triton_adamw),
    Candidate("torch", "builtin", "torch's fused kernel, and a pass for the copies", "adamw", _fit, "plain_all_", tried=False),
)
_REFERENCE = Candidate("reference", "reference", "the slow definition", "reference", _fit, tried=False)


def candidates(operation: str) -> tuple[Candidate, ...]:
    """In the order in which they are asked."""
    others = {"attention": _ATTENTION, "row_keys": _KEYS, "adamw_": _ADAMW, "adamw_all_": _ADAMW_ALL}
    return others.get(operation, _ROWS)


@functools.cache
def on_cpu() -> Route:
    """The route of a CPU.

    Raises:
        InputError: ``NLPHUB_KERNELS`` asks for Triton, which has no CPU.
    """
    wanted = paths.kernels()
    if wanted == "triton" and not paths.triton_interpreted():
        raise InputError(
            "NLPHUB_KERNELS=triton: Triton kernels run on NVIDIA GPUs, and these tensors are on a cpu. "
            "Unset NLPHUB_KERNELS, move the module to cuda, or set TRITON_INTERPRET=1 to run the kernels slowly in Python"
        )
    names = {"auto": "native", "builtin": "cpu", "reference": "reference", "triton": "operators"}
    return cast("Route", importlib.import_module(f"nlphub.kernels.{names[wanted]}"))


@functools.cache
def choose(operation: str, case: Case) -> Choice:
    """What does ``operation`` on a device other than a CPU.

    Raises:
        InputError: ``NLPHUB_KERNELS`` asks for Triton kernels that do not work here.
    """
    wanted, objections = paths.kernels(), list[tuple[str, str]]()
    if wanted == "reference" and operation not in STEPS:  # it is the definition already where it is made of calls of torch
        return Choice(_REFERENCE, _REFERENCE.load(operation), ())
    for candidate in candidates(operation):
        objection = _objection(operation, candidate, case, wanted)
        if objection is None:
            return Choice(candidate, candidate.load(operation), tuple(objections))
        objections.append((candidate.name, objection))
    raise AssertionError(f"every candidate for {operation} was refused: {objections}")  # the last one never is


def forget() -> None:
    """Decide everything again, e.g. after the environment has changed."""
    choose.cache_clear()
    on_cpu.cache_clear()
    _warned.clear()


def _objection(operation: str, candidate: Candidate, case: Case, wanted: str) -> str | None:
    """Why a candidate is not taken; ``NLPHUB_KERNELS=triton`` lets it be refused for its shape only."""
    ours, forced = candidate.family == "triton", wanted == "triton"
    if ours and wanted in ("builtin", "reference"):
        return f"NLPHUB_KERNELS={wanted}"
    if ours and (nowhere := no_triton_here(case.device)):
        return _refused(nowhere) if forced else nowhere
    if unfit := candidate.unfit(case):
        return unfit
    if not candidate.tried:
        return None
    if case.device == "cuda" and not torch.cuda.is_available():
        return "torch sees no GPU here"
    fault = _tried(operation, candidate, case)
    if ours and fault:
        if forced:
            return _refused(fault)
        _warn_once(operation, case, fault)
    return fault


def _tried(operation: str, candidate: Candidate, case: Case) -> str | None:
    if case.device == "cuda" and torch.cuda.is_current_stream_capturing():
        raise InputError(f"{operation} was not used before a graph of it is captured ({case}); do the work once before capturing it")
    try:
        function = candidate.load(operation)
    except ImportError as error:
        return f"{type(error).__name__}: {error}"
    return probes.fault(operation, function, case, own_masks=candidate.own_masks)


def _refused(objection: str) -> str:
    raise InputError(f"NLPHUB_KERNELS=triton: {objection}. Unset NLPHUB_KERNELS to let nlphub choose another route")


def _warn_once(operation: str, case: Case, fault: str) -> None:
    log.log(
        logging.INFO if _warned else logging.WARNING,
        "the Triton kernel of %s does not work for %s on this %s device (%s): the built-in route takes its place, here and wherever "
        "else it fails; nlphub.kernels.explain() says where",
        operation, _name(case.dtype), case.device, fault,
    )  # fmt: skip
    _warned.append(operation)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
