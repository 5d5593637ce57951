"""Fine-tuning quality on real sets: our weights, the same network from random, linear models, published figures beside them.

    NLPHUB_DATA=folder python benchmarks/quality.py                 # makes what is missing, then prints the table
    NLPHUB_DATA=folder python benchmarks/quality.py --device cuda   # full cells
    python benchmarks/quality.py --quick [--json]                   # under a minute: kept cells only, one made again as a check
    python benchmarks/quality.py --markdown                         # for the card of the module; trains nothing
    python benchmarks/quality.py --missing                          # what is still to be made

Every finished cell is a small file under benchmarks/results/quality/: stop it whenever you like, start it again, and it goes on. A cell
belongs to its rows, hyper-parameters and weights; other weights get cells of their own. Linear models need scikit-learn (extra "dev").
"""

import argparse
import json
import logging
import sys
from pathlib import Path

from judging.cells import Key, Store, wanted
from judging.hyper import COLUMNS
from judging.neural import require_trained, sources
from judging.run import CPU_TOKENS, Maker, check_cache, check_cap, make_missing
from judging.sets import SETS, data_folder
from judging.table import build

from nlphub import paths
from nlphub.errors import NlphubError

RESULTS = Path(__file__).parent / "results" / "quality"


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    try:
        report(options)
    except NlphubError as error:
        sys.exit(f"error: {error}")


def report(options: argparse.Namespace) -> None:
    """Make what is missing, unless only kept cells are asked for, and print."""
    starts, store = sources(options.module), Store(options.results)
    keys = wanted(options.sets, options.columns, seeds=options.seeds, cap=options.tokens, weights=starts)
    if options.missing:
        print_missing(keys, store, options, trained="pretrained" in starts)
        return
    if not (options.quick or options.markdown):
        check_cap(options.tokens, options.columns, options.device)
        if "pretrained" in options.columns:
            require_trained(starts, options.module)
        make_missing(keys, store, Maker(data_folder(options.data), options.module, options.device), say)
    weights = starts.get("pretrained")
    table = build(keys, store, columns=options.columns, cap=options.tokens, seeds=options.seeds, weights=weights)
    if options.json:
        print(json.dumps(table.as_dict(), ensure_ascii=False, indent=2))
    else:
        print(table.markdown() if options.markdown else table.text())
    if options.quick:
        say(checked(keys, store, options))


def checked(keys: list[Key], store: Store, options: argparse.Namespace) -> str:
    """What the check of the kept cells came to."""
    if options.data is None and paths.real_data() is None:
        return "check: left out, because NLPHUB_DATA is not set: without the real data no cell can be made again"
    return check_cache(keys, store, Maker(data_folder(options.data), options.module))


def print_missing(keys: list[Key], store: Store, options: argparse.Namespace, *, trained: bool) -> None:
    """One line for each cell that is not there, or lacks a score."""
    missing = store.missing(keys)
    for key, lacking in missing.items():
        print(f"{key.set} {key.column} seed {key.seed}, {key.cap or 'all'} tokens" + (f", lacks {', '.join(lacking)}" if lacking else ""))
    print(f"{len(missing)} of {len(keys)} cells are missing")
    if "pretrained" in options.columns and not trained:
        print("pretrained: no trained weights yet, so none of its cells can be made")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options; tokens as a number, or ``None`` for all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS), metavar="SET", help=", ".join(SETS))
    parser.add_argument(
        "--columns", "--inits", nargs="+", choices=COLUMNS, default=list(COLUMNS), metavar="COLUMN", help=", ".join(COLUMNS)
    )
    parser.add_argument("--seeds", type=int, default=3, help="how many: 0, 1, ... (default 3)")
    parser.add_argument("--tokens", help=f"trained in an epoch at most, or all (default {CPU_TOKENS:,} on a CPU, all on a GPU)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--module", type=Path, help="a saved module instead of the shipped ernie_tiny")
    parser.add_argument("--data", type=Path, help="folder of real data (default: NLPHUB_DATA)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where cells are kept")
    parser.add_argument("--quick", action="store_true", help="train nothing: print kept cells, and make one linear cell again as a check")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--markdown", action="store_true", help="the table for the card, from kept cells")
    parser.add_argument("--missing", action="store_true", help="list what is not there yet")
    options = parser.parse_args(arguments)
    if options.seeds < 1:
        parser.error(f"--seeds {options.seeds} must be at least 1")
    options.tokens = _tokens(parser, options)
    return options


def _tokens(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int | None:
    given = options.tokens or ("all" if options.device == "cuda" else str(CPU_TOKENS))
    if given != "all" and not given.isdecimal():
        parser.error(f"--tokens {given!r} is neither a number nor all")
    return None if given == "all" else int(given)


if __name__ == "__main__":
    logging.getLogger("nlphub").setLevel(logging.ERROR)  # this benchmark says itself what is random
    main()
