"""``nlphub kernels build | explain``."""

from typing import Annotated

import typer

from nlphub.cli.output import note
from nlphub.errors import InputError

DEVICES = ("cpu", "cuda", "npu", "xpu", "mps")

kernels = typer.Typer(
    name="kernels",
    no_args_is_help=True,
    help="Compile the training kernels for this processor ahead of the first training; tell what computes, and why.",
)


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(kernels)


@kernels.command()
def build() -> None:
    """Compile the kernels of trainings on a CPU into the cache, as the first training would do by itself.

    Example: nlphub kernels build
    """
    from nlphub.kernels.native import build as native

    path = native.build()
    note("trainings on this processor will use these kernels; NLPHUB_KERNELS=builtin does without them")
    print(path)


@kernels.command()
def explain(
    device: Annotated[str, typer.Option(help="cpu, cuda, npu, xpu or mps; it need not be there.")] = "cpu",
    dropout: Annotated[bool, typer.Option("--dropout", help="As in a training.")] = False,
) -> None:
    """Tell what computes attention, norms, activations and dropout on a device, and the objections to what was asked before it.

    Example: nlphub kernels explain --dropout
    """
    if device not in DEVICES:
        raise InputError(f"--device {device!r} is none of {', '.join(DEVICES)}")
    from nlphub.kernels import explain as explained

    print(explained(device, dropout=dropout))
