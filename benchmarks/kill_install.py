"""Kills installations with SIGKILL at random moments: the store holds whole modules or none, and the next installation goes on from there.

    python benchmarks/kill_install.py [--kills 200] [--seed 0] [--control]

A hub of random modules is served over HTTP by `nlphub hub serve` in a process of its own. A fork, with everything imported beforehand,
installs a module from it and is killed: half of the times anywhere, half of the times while bytes of a file arrive. After each kill the
store is looked at: every file under its own name has to have its digest, and a module that says that it is installed has to be right.
Then the same module is installed again, unhindered, counting what comes over the network: bytes that were kept are not fetched twice.
``--control`` kills an installer that writes files in place instead, to show that damage would be found.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from nlphub import paths
from nlphub.files import json_text, publish, publish_text, sha256
from nlphub.hub import checking, fetch, store
from nlphub.hub.cards import Card
from nlphub.hub.part import leftovers
from nlphub.hub.registry import find_module
from nlphub.hub.transport import request

SIZES = {"config.json": 700, "vocab.txt": 90_000, "model.safetensors": 6_000_000, "references.safetensors": 1_500_000}  # bytes


def make_hub(hub: Path, chance: random.Random) -> None:
    """One module of random bytes, in the layout of a hub."""
    entries = []
    for path, size in SIZES.items():
        place = f"modules/toy/1.0.0/{path}"
        with publish(hub / place) as stream:
            stream.write(chance.randbytes(size))
        entries.append({"path": path, "bytes": size, "sha256": sha256(hub / place), "sources": [f"bundle:{place}"]})
    card = {
        "version": "1.0.0", "aliases": [], "summary": "Random bytes.", "licence": "Apache-2.0", "language": "zh",
        "architecture": "ernie_tiny", "parameters": None, "tokenizer": "zh_char", "tasks": ["seq-cls"], "upstream": None, "files": entries,
    }  # fmt: skip
    publish_text(hub / "registry.json", json_text({"schema": 1, "serial": 1, "modules": {"toy": card}}))


@contextmanager
def served(hub: Path) -> Iterator[str]:
    """The address of a hub that a process of its own serves."""
    command = [sys.executable, "-m", "nlphub", "hub", "serve", str(hub), "--port", "0", "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip().rpartition("NLPHUB_REGISTRY=")[2]
    finally:
        process.terminate()
        process.wait()


def careless(card: Card) -> None:
    """The control: files under their own names from before the first byte on, so that a kill at any moment does damage."""
    targets = [store.folder(card) / entry.path for entry in card.files]
    for target in targets:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    for entry, target in zip(card.files, targets, strict=True):
        with urlopen(entry.sources[0]) as answer, target.open("wb") as stream:
            while block := answer.read(1 << 16):
                stream.write(block)
                stream.flush()


def forked(install: Callable[[Card], Any], card: Card) -> int:
    """A process that installs the module."""
    child = os.fork()
    if child == 0:
        try:
            install(card)
            os._exit(0)
        except BaseException as failure:
            print(repr(failure), file=sys.stderr, flush=True)
            os._exit(1)
    return child


def strike(child: int, place: Path, chance: random.Random, *, longest: float) -> bool:
    """Kill the child, anywhere or while bytes arrive; whether it was still at work."""
    if chance.random() < 0.5:
        time.sleep(chance.uniform(0.0, 1.1 * longest))
    else:
        while not any(path.stat().st_size for path in seen(place)) and os.waitpid(child, os.WNOHANG) == (0, 0):
            time.sleep(0.0005)
        time.sleep(chance.uniform(0.0, longest / 2))
    try:
        os.kill(child, signal.SIGKILL)
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    except (ChildProcessError, ProcessLookupError):
        return False


def seen(place: Path) -> Iterator[Path]:
    """Unfinished files; a file that goes away meanwhile is none."""
    for path in place.glob(".*.part"):
        if path.exists():
            yield path


@dataclass
class Meter:
    """Bytes that came over the network."""

    received: int = 0

    @contextmanager
    def request(self, address: str, **options: Any) -> Iterator[Any]:
        with request(address, **options) as body:
            yield type(body)(body.first, body.total, self.counted(body.blocks))

    def counted(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        for block in blocks:
            self.received += len(block)
            yield block


def wrong_with(card: Card, place: Path) -> list[str]:
    """What no kill may leave: a file under its own name with other bytes; a module that says it is installed and is not right."""
    there = [entry for entry in card.files if (place / entry.path).exists()]
    wrong = [problem for entry in there if (problem := checking.file_problem(place / entry.path, entry))]
    return wrong + (store.verify(card) if store.installed() else [])


def kept_bytes(card: Card, place: Path) -> int:
    """Bytes that the next installation needs not fetch."""
    done = sum(entry.bytes or 0 for entry in card.files if (place / entry.path).exists())
    open_ones = (entry for entry in card.files if not (place / entry.path).exists())
    return done + sum(max((path.stat().st_size for path in leftovers(place / entry.path)), default=0) for entry in open_ones)


def killed(card: Card, kills: int, chance: random.Random, install: Callable[[Card], Any]) -> Counter[str]:
    """What was found after so many kills of an installer."""
    place, whole, found, meter = store.folder(card), sum(SIZES.values()), Counter[str](), Meter()
    fetch.request = meter.request  # type: ignore[assignment]
    started = time.perf_counter()
    os.waitpid(forked(install, card), 0)
    longest = time.perf_counter() - started
    while found["kills"] < kills:
        shutil.rmtree(paths.home() / "modules")
        hit = strike(forked(install, card), place, chance, longest=longest)
        found["kills"] += hit
        found["corrupted"] += bool(wrong_with(card, place)) if place.exists() else 0
        kept = kept_bytes(card, place) if place.exists() else 0
        found["with nothing yet" if not kept else "in the middle" if kept < whole else "with all bytes there"] += hit
        meter.received = 0
        store.install(card)
        found["not right afterwards"] += bool(store.verify(card)) or len(list(place.iterdir())) != len(SIZES) + 1
        found["bytes kept"] += kept
        found["bytes fetched again"] += meter.received - (whole - kept)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--control", action="store_true", help="kill an installer that writes in place; damage is expected")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as root:
        make_hub(Path(root) / "hub", chance)
        with served(Path(root) / "hub") as address:
            os.environ.update(NLPHUB_HOME=str(Path(root) / "home"), NLPHUB_REGISTRY=address, no_proxy="127.0.0.1")
            found = killed(find_module("toy"), options.kills, chance, careless if options.control else store.install)
    places = ", ".join(f"{found[where]} {where}" for where in ("with nothing yet", "in the middle", "with all bytes there"))
    print(
        f"{found['kills']} kills during install ({places}): {found['corrupted']} corrupted stores, {found['not right afterwards']} next "
        f"installations not right; they found {found['bytes kept']:,} bytes and fetched {found['bytes fetched again']:,} of them again"
    )
    damage = bool(found["corrupted"] or found["not right afterwards"])
    sys.exit(damage != options.control)


if __name__ == "__main__":
    main()
