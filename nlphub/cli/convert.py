"""``nlphub convert``: checkpoints of transformers and PaddleNLP in, and ours out."""

from pathlib import Path
from typing import Annotated

import typer

from nlphub.cli.output import note, print_json


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command()(convert)


def convert(
    source: Annotated[Path, typer.Argument(help="A module's folder, a folder of transformers or PaddleNLP, or a .pdparams file.")],
    to: Annotated[str, typer.Option(help="native, transformers or paddle.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write; it must not exist yet.")],
    family: Annotated[str | None, typer.Option(help="ernie or bert, for the result; bert folds the task type in.")] = None,
    task: Annotated[str | None, typer.Option(help="seq-cls or token-cls, of a classifier whose config does not say so.")] = None,
    numbers: Annotated[str | None, typer.Option(help="For .pdparams without config: e.g. ernie_3_0_nano, or a config.json.")] = None,
    eps: Annotated[float | None, typer.Option(help="Of every LayerNorm, where the source's own is wrong.")] = None,
    keys: Annotated[bool, typer.Option("--keys", help="Print every key with its fate.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole report as JSON.")] = False,
) -> None:
    """Convert a checkpoint between nlphub, transformers and PaddleNLP; nothing in it is ever executed.

    Example: nlphub convert ernie_3.0_nano_zh.pdparams --numbers ernie_3_0_nano --to native --out ernie_nano
    """
    from nlphub.errors import require

    require("torch", extra="train", purpose="nlphub convert")
    from nlphub.checkpoints.convert import convert as run

    report = run(source, to=to, out=out, family=family, task=task, numbers=numbers, eps=eps)
    if as_json:
        print_json(report.as_dict())
        return
    if keys:
        print(f"{report.table()}\n")
    print(report)
    note(f"open it with: hub.Module(directory={str(out)!r})" if to == "native" else f"written: {out}")
