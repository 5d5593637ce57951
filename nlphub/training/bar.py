"""A progress bar over the facts of a training."""

import sys
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")


def with_bar(facts: Iterator[T], describe: Callable[[T], tuple[float, float, str]], *, shown: bool) -> Iterator[T]:
    """Pass the facts on, drawing them as a progress bar when standard error is a terminal.

    Args:
        facts: of a training.
        describe: how much is done, of how much, and a line of text, for a fact.
        shown: False: no bar.
    """
    if not (shown and sys.stderr.isatty()):
        yield from facts
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True)) as bar:
        task = bar.add_task("training", total=None)
        for fact in facts:
            done, total, text = describe(fact)
            bar.update(task, completed=done, total=total, description=text)
            yield fact
