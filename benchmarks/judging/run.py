"""Making cells: the rows of the set, the model of the column, and what a reader may want to know about how it went."""

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from judging.cells import Cell, Key, Store
from judging.hyper import NEURAL
from judging.sets import SETS, Task, load_task
from nlphub.errors import DataError, InputError, require

CPU_TOKENS = 40_000  # of an epoch: a cell of ernie_tiny then takes about a minute on two cores
MOST_CPU_TOKENS = 100_000
LOOSE = 0.0035  # of accuracy: two rows of SMP2017's 667 may fall to the other side with another BLAS


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes cells of one sitting.

    Attributes:
        data: folder of real data.
        directory: a module folder instead of the shipped module.
        device: of the network, ``"cpu"`` or ``"cuda"``; linear models always run on the CPU.
    """

    data: Path
    directory: Path | None = None
    device: str = "cpu"
    _tasks: dict[tuple[str, int | None], Task] = field(default_factory=dict)

    def make(self, key: Key) -> Cell:
        """Train and judge one cell."""
        require("sklearn", extra="dev", purpose="the linear models of this benchmark")
        task, started = self._task(key), time.perf_counter()
        scores, facts = self._judge(key, task)
        seconds = round(time.perf_counter() - started, 1)
        return Cell(key, merged(scores), {**task.facts, **facts, **self._surroundings(key), "seconds": seconds})

    def _task(self, key: Key) -> Task:
        place = (key.set, key.cap)
        if place not in self._tasks:
            self._tasks.clear()  # one set at a time is enough
            self._tasks[place] = load_task(SETS[key.set], self.data, tokens=key.cap)
        return self._tasks[place]

    def _judge(self, key: Key, task: Task) -> tuple[list[dict[str, float]], dict[str, Any]]:
        from judging import linear, linear_answers, neural, probe  # torch and scikit-learn: only where something is made

        if key.column in NEURAL:
            return neural.judge(key.column, task, seed=key.seed, directory=self.directory, device=self.device)
        if task.of.kind == "probe":
            return probe.judge_linear(key.column, task, seed=key.seed), {}
        if task.of.kind == "frames":
            return [linear_answers.judge_frames(task)], {}
        if task.of.kind in ("sets", "numbers"):
            return [linear_answers.judge_answers(task)], {}
        return [linear.judge(key.column, task, seed=key.seed)], {}

    def _surroundings(self, key: Key) -> dict[str, Any]:
        import sklearn
        import torch

        import nlphub

        device = self.device if key.column in NEURAL else "cpu"
        what = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
        versions = {"nlphub": nlphub.__version__, "torch": torch.__version__, "scikit-learn": sklearn.__version__}
        return {"device": f"{device} ({what})", "threads": torch.get_num_threads(), "versions": versions}


def merged(scores: Sequence[dict[str, float]]) -> dict[str, list[float]]:
    """Metric -> its values, one for each draw."""
    return {name: [round(one[name], 6) for one in scores] for name in scores[0]}


def check_cap(cap: int | None, columns: Sequence[str], device: str) -> None:
    """Check that the network is not asked for hours of CPU time.

    Raises:
        InputError: more than 100,000 tokens of an epoch on a CPU, or fewer than one.
    """
    if cap is not None and cap < 1:
        raise InputError(f"--tokens {cap} must be at least 1, or all")
    if device == "cpu" and set(columns) & set(NEURAL) and (cap is None or cap > MOST_CPU_TOKENS):
        raise InputError(
            f"--tokens {cap or 'all'}: on a CPU the network trains on at most {MOST_CPU_TOKENS:,} tokens of an epoch. "
            "Give fewer, or --device cuda, or only linear models: --columns tfidf ngrams"
        )


def make_missing(keys: Sequence[Key], store: Store, maker: Maker, say: Callable[[str], None]) -> None:
    """Make the cells that are not there, then again those that lack a score, one after another; each is kept as soon as it is finished."""
    missing = store.missing(keys)
    for number, key in enumerate(missing, start=1):
        if store.missing([key]):  # another process may have made it meanwhile
            cell = maker.make(key)
            store.put(cell)
            metric = SETS[key.set].metrics[0]
            mean = sum(cell.scores[metric]) / len(cell.scores[metric])
            say(f"[{number}/{len(missing)}] {key.set} {key.column} seed {key.seed}: {metric} {100 * mean:.1f} ({cell.facts['seconds']} s)")


def check_cache(keys: Sequence[Key], store: Store, maker: Maker) -> str:
    """Make one cheap cell again, in memory, and compare it with the kept one.

    Returns:
        A sentence that says what was compared.

    Raises:
        DataError: it has other rows or other scores.
    """
    kept = [cell for key in keys if key.column == "tfidf" and (cell := store.get(key))]
    if not kept:
        return "check: no TF-IDF cell is kept yet, so none was made again"
    cell = next((cell for cell in kept if cell.key.set == "smp2017"), kept[0])
    again = maker.make(cell.key)
    old, new = (one.scores[SETS[cell.key.set].metrics[0]][0] for one in (cell, again))
    if cell.facts["rows_digest"] != again.facts["rows_digest"] or abs(old - new) > LOOSE:
        raise DataError(
            f"The kept cell {cell.key.file} says {old:.4f} on rows {cell.facts['rows_digest']}, but made again it is {new:.4f} on rows "
            f"{again.facts['rows_digest']}: the data or the code changed. Delete the cells of this set and run the benchmark again."
        )
    return f"check: {cell.key.set} {cell.key.column} made again in {again.facts['seconds']} s: {100 * new:.2f}, kept {100 * old:.2f}"
