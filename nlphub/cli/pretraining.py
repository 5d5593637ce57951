"""``nlphub pretrain-data`` and ``nlphub pretrain``: text files to tokenised shards, shards to a pretrained module."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import nlphub
from nlphub.cli.output import note, print_json, print_table

if TYPE_CHECKING:
    from nlphub.data.corpus.card import Card
    from nlphub.data.corpus.prepare import Progress
    from nlphub.training.pretraining.run import Pretrained


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("pretrain-data")(pretrain_data)
    app.command()(pretrain)


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


def pretrain(
    recipe: Annotated[str, typer.Argument(help="Name of a shipped recipe (pretrain, adapt) or a path.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="e.g. data.train=corpus/train train.minutes=30")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in the same folder.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on exactly from the last checkpoint of a stopped run.")] = False,
    cpu: Annotated[bool, typer.Option("--cpu", help="Stay on the CPU where there is a GPU.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Pretrain a module on shards, or adapt one to the text of your domain, as a recipe says.

    Example: nlphub pretrain adapt data.train=corpus/train data.dev=corpus/dev run.folder=runs/my_domain
    """
    from nlphub.recipe import load_pretrain_recipe

    logging.getLogger("nlphub.training").setLevel(logging.INFO)  # hours without a word would worry
    loaded = load_pretrain_recipe(recipe, overrides or ())
    try:
        done = nlphub.pretrain(loaded, overwrite=overwrite, resume=resume, use_gpu=False if cpu else None)
    except KeyboardInterrupt:
        note(f"interrupted; go on from the last checkpoint with the same command and --resume (the run is in {loaded.run.folder})")
        raise typer.Exit(130) from None
    if as_json:
        print_json(done.as_dict())
    else:
        _print_pretrained(done)


def _print_pretrained(done: "Pretrained") -> None:
    if done.scores:
        rows = [
            (name, f"{after.predicted:,}", f"{100 * before.accuracy:.1f} %", f"{100 * after.accuracy:.1f} %")
            for name, (before, after) in done.scores.items()
        ]
        print_table(("HELD-OUT TEXT", "MASKED TOKENS", "RIGHT BEFORE", "RIGHT AFTER"), rows)
        print()
    print(f"module            {done.module}   open it with hub.Module(directory={str(done.module)!r}, task=...)")
    print(f"training          {done.steps:,} steps, {done.tokens:,} tokens, {done.seconds / 60:.0f} minutes")
    print(f"weights sha256    {done.weights_digest}")


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
