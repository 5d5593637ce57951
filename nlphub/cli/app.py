"""The root of the command line, and how errors become exit codes. The verbs are in :mod:`nlphub.cli.lazy`."""

import logging
import os
import sys

import typer

from nlphub import __version__
from nlphub.cli.lazy import LazyGroup
from nlphub.errors import NlphubError

app = typer.Typer(
    name="nlphub",
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="A pretrained-model hub and fine-tuning platform for Chinese NLP.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"nlphub {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Log every step on standard error."),
) -> None:
    """A pretrained-model hub and fine-tuning platform for Chinese NLP."""
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr)


def main() -> None:
    """Run the command; user errors are one clear message on standard error and exit code 1 or 2."""
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # what a terminal cannot show is no reason to fail
    try:
        app()
    except NlphubError as error:
        print(f"nlphub: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader went away, e.g. `nlphub list | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:  # a disk that is full, a folder that may not be written
        print(f"nlphub: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("nlphub: interrupted", file=sys.stderr)
        sys.exit(130)
