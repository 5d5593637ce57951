"""``nlphub pretrain-data``: text files to tokenised shards."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nlphub.cli.output import note, print_json, print_table

if TYPE_CHECKING:
    from nlphub.data.corpus.card import Card
    from nlphub.data.corpus.prepare import Progress


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("pretrain-data")(pretrain_data)


def pretrain_data(
    out: Annotated[Path, typer.Argument(help="Folder for train/, dev/, card.json and README.md.")],
    sources: Annotated[list[Path], typer.Argument(help="Text: .txt or .jsonl, also .zst, .xz or .gz; or folders of those.")],
    exclude: Annotated[
        list[Path] | None, typer.Option(help="Evaluation data to keep out: a file, or a folder's dev and test files.")
    ] = None,
    tokenizer: Annotated[str, typer.Option(help="A bundled tokenizer, or a folder that holds one.")] = "zh_char",
    config: Annotated[Path | None, typer.Option(help="YAML: for each source cap, weight, licence, origin.")] = None,
    cap: Annotated[list[str] | None, typer.Option(metavar="NAME=TOKENS", help="The most tokens of a source.")] = None,
    weight: Annotated[list[str] | None, typer.Option(metavar="NAME=WEIGHT", help="How often a source is sampled; 1 is once.")] = None,
    held_out: Annotated[float, typer.Option(help="Share of documents of each source that goes to dev/.")] = 0.005,
    text: Annotated[str, typer.Option(help="Key of the text in .jsonl rows.")] = "text",
    seed: Annotated[int, typer.Option(help="Decides which documents are held out and which a cap keeps.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes; the result does not depend on it.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what another preparation left in OUT.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the data card as JSON.")] = False,
) -> None:
    """Filter, deduplicate, decontaminate and tokenise text for pretraining. A stopped run goes on when it is started again.

    Example: nlphub pretrain-data corpus/ texts/*.txt.zst --exclude labelled/ --cap news=20000000 --workers 4
    """
    from nlphub.data.corpus.prepare import prepare_corpus
    from nlphub.data.corpus.sources import find_sources, find_tokenizer

    plan = find_sources(sources, config=config, caps=cap or (), weights=weight or ())
    folder = find_tokenizer(tokenizer)
    with _progress_bar() as progress:
        card = prepare_corpus(
            out,
            plan,
            exclude=exclude or (),
            tokenizer=folder,
            held_out=held_out,
            text=text,
            seed=seed,
            workers=workers,
            overwrite=overwrite,
            progress=progress,
        )
    if as_json:
        print_json(card)
    else:
        _print_card(out, card)


def _print_card(out: Path, card: "Card") -> None:
    rows = [
        (source["name"], f"{source['steps'].get('read', (0, 0, 0))[2]:,}", f"{source['train']['tokens']:,}", f"{source['dev']['tokens']:,}")
        for source in [*card["sources"], {"name": "all", **card["totals"]}]
    ]
    print_table(("SOURCE", "CHARACTERS READ", "TRAIN TOKENS", "DEV TOKENS"), rows)
    if unreadable := card["totals"]["steps"].get("unreadable row"):
        note(f"{unreadable[1]:,} rows could not be read; the data card says of which source")
    print(f"\nshards     {out / 'train'} and {out / 'dev'}\ndata card  {out / 'README.md'}")


@contextmanager
def _progress_bar() -> "Iterator[Progress | None]":
    """A bar on standard error while text is prepared; nothing when that is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)
