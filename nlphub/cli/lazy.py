"""The verbs by name, each of which is imported only when it is asked for: ``nlphub --help`` costs hardly more than importing typer.

A new verb gets a line in :data:`VERBS` with the first sentence of its help; a test compares the table with the commands themselves.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

VERBS: dict[str, tuple[str, str]] = {
    "list": (
        "hub",
        "List all modules; INSTALLED tells what is in the local store, `nlphub show NAME` all else: tasks, licence, origins.",
    ),
    "search": ("hub", "Find modules by name, alias, summary, language, upstream or task."),
    "show": ("hub", "Show all facts about a module: licence, size, tasks, files and where they come from."),
    "install": (
        "hub",
        "Put a module into the local store, verified; what is there already is hashed again and mended. A .zip needs no network.",
    ),
    "verify": ("hub", "Hash the files of installed modules again; exit code 1 if anything is wrong."),
    "remove": ("hub", "Delete a module from the local store."),
    "bundle": (
        "hub",
        "Pack modules, complete and verified, into one file for machines without a network. Equal contents give equal bytes.",
    ),
    "convert": ("convert", "Convert a checkpoint between nlphub, transformers and PaddleNLP; nothing in it is ever executed."),
    "init": ("doctor", "Look at a file of labelled texts and write a recipe that fine-tunes on it. Asks nothing."),
    "doctor": (
        "doctor",
        "Say what is wrong with labelled texts: conflicting labels, duplicates, leakage, personal data, ...; or with this installation.",
    ),
    "finetune": ("training", "Fine-tune, evaluate, save and export, as a recipe says."),
    "evaluate": ("training", "Score a fine-tuned module on labelled data."),
    "pretrain-data": (
        "pretraining",
        "Filter, deduplicate, decontaminate and tokenise text for pretraining. A stopped run goes on when it is started again.",
    ),
    "pretrain": ("pretraining", "Pretrain a module on shards, or adapt one to the text of your domain, as a recipe says."),
    "predict": (
        "inference",
        "Label texts or pairs of them, find spans and slots, estimate numbers: one JSON line for each, in their order.",
    ),
    "export": ("export", "Write an artefact that predicts without torch, and prove that it agrees with the module."),
    "check-robustness": (
        "robustness",
        "Write labelled texts otherwise (full width, traditional, homophones, typing slips, speech, ...) and compare the answers.",
    ),
    "suspects": (
        "suspects",
        "Look for wrong labels in a recipe's training data: train on all folds but one, for each fold, and ask about that one.",
    ),
    "report": ("report", "Make the report of a run again: one HTML file, from what the run left in its folder."),
    "tune": (
        "tuning",
        "Search learning rate, batch size, epochs, ... by the dev score; the recipe's section `tune` says where. Goes on when called "
        "again.",
    ),
    "repeat": ("tuning", "Fine-tune with several seeds: mean scores with 95 % intervals. Goes on when called again."),
    "find-rate": ("tuning", "Suggest a learning rate from a short training at rising rates. Writes nothing."),
    "shrink": (
        "smaller",
        "Make a module smaller: fewer characters, layers, heads, narrower layers. What stays is measured on the data of the run, which "
        "then teach it to recover.",
    ),
    "distill": ("smaller", "Let a module learn from a fine-tuned one: the teacher's recipe with another module and a section `distill`."),
    "compare": ("smaller", "Size, speed and score of several modules or artefacts on the same texts."),
    "hub": ("own_hub", "Make, fill, check and serve a hub of your own; renew and forget other hubs."),
    "kernels": ("kernels", "Compile the training kernels for this processor ahead of the first training; tell what computes, and why."),
    "recipe": ("recipes", "Look at recipes, copy one as a start of your own, check one."),
}


class Verbs(Mapping[str, Any]):
    """Name -> command; the file that holds it is imported at the first look at a value."""

    def __init__(self) -> None:
        self._groups: dict[str, Mapping[str, Any]] = {}

    def __getitem__(self, name: str) -> Any:
        """Raises KeyError of a name that is no verb."""
        home, _ = VERBS[name]
        if home not in self._groups:
            part = typer.Typer(rich_markup_mode=None)
            import_module(f"nlphub.cli.{home}").register(part)
            self._groups[home] = typer.main.get_group(part).commands
        return self._groups[home][name]

    def __iter__(self) -> Iterator[str]:
        return iter(VERBS)

    def __len__(self) -> int:
        return len(VERBS)


class LazyGroup(TyperGroup):
    """The root command over :class:`Verbs`; its help is written from the table alone."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = Verbs()  # type: ignore[assignment]  # nothing is added later

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order of the table."""
        return list(VERBS)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """As usual, of stand-ins that have a name and a first sentence."""
        told = {name: TyperCommand(name, help=summary) for name, (_, summary) in VERBS.items()}
        TyperGroup(name=self.name, commands=dict(told)).format_commands(ctx, formatter)
