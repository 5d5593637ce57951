"""Which routes run and why, as text."""

import torch

from nlphub import paths
from nlphub.kernels import dispatch, probes
from nlphub.kernels.probes import Case

_GROUPS = "equal-length neighbours as dense blocks through scaled_dot_product_attention"
_HASHED = "masks by hash of (seed, layer, site, example, position, column); with attention dropout: bmm and softmax"
_ON_CPU = {
    "cpu": f"{_GROUPS} (fused attention without padding or masks)",
    "reference": "the slow definition",
    "operators": "kernels in Triton, run in Python by its interpreter",
}


def explain(
    device: str | torch.device = "cpu",
    *,
    dtype: torch.dtype = torch.float32,
    width: int = 64,
    longest: int = 128,
    dropout: bool = False,
    row: int = 768,
) -> str:
    """What computes on ``device``, for every operation, and the objections to what was asked before it, as a few lines of text.

    Candidates on a GPU are tried to find that out, which compiles kernels at the first time.

    Args:
        device: e.g. ``cpu`` or ``cuda``; it need not be there.
        dtype: of activations.
        width: of a head.
        longest: tokens of the longest sequence of a batch.
        dropout: whether there is any, as in a training.
        row: width of the rows of the other operations.
    """
    kind = str(device).partition(":")[0]  # torch.device knows no npu before torch_npu is imported
    lines = _on_cpu() if kind == "cpu" else _elsewhere(kind, dtype, width, longest, dropout, row)
    facts = f"{kind}, {str(dtype).removeprefix('torch.')}"
    if kind == "cpu":
        facts += f", {torch.get_num_threads()} threads"
    else:
        facts += f", heads of {width}, up to {longest} tokens, {'with' if dropout else 'without'} dropout"
    return "\n".join([*lines, f"device     {facts}", f"torch      {torch.__version__}, NLPHUB_KERNELS={paths.kernels()}"])


def computing(device: str) -> str:
    """What trainings on ``cpu`` or ``cuda`` compute with, for the record: two runs with equal words of it can be equal bit by bit."""
    if device != "cpu" or dispatch.on_cpu().__name__ != "nlphub.kernels.native":
        return paths.kernels()
    from nlphub.kernels.native import build

    return f"native {found}" if (found := build.digest()) else "builtin"


def _on_cpu() -> list[str]:
    route = dispatch.on_cpu().__name__.rpartition(".")[2]
    if route == "native":
        return _native()
    return [f"route      {route}: {_ON_CPU[route]}", f"dropout    {_HASHED}"]


def _native() -> list[str]:
    from nlphub.kernels.native import build

    lines = [f"route      cpu: {_ON_CPU['cpu']}", f"dropout    {_HASHED}"]
    if why := build.unfit():
        return [*lines, f"           not native: {why}"]
    return [*lines, "training   native: kernels in C++, in float32; compiled when they are first wanted, and if that fails as above"]


def _elsewhere(kind: str, dtype: torch.dtype, width: int, longest: int, dropout: bool, row: int) -> list[str]:
    lines = []
    for operation in dispatch.OPERATIONS:
        case = Case(kind, dtype, row, dropout)
        if operation == "attention":
            case = Case(kind, dtype, width, dropout, probes.bucket(longest))
        elif operation in dispatch.STEPS:
            case = Case(kind, torch.float32, 0, False)
        choice = dispatch.choose(operation, case)
        lines.append(f"{operation:<10} {choice.candidate.name}: {choice.candidate.about}")
        lines += [f"{'':<10}   not {name}: {objection}" for name, objection in choice.objections]
    return lines
