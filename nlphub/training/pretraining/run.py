"""A whole pretraining from a recipe: text, module, training, masked accuracy before and after, all in one folder.

::

    runs/pretrain/
      recipe.yaml     the recipe as it was resolved
      lock.json       what has to be equal to get the same weights again: digests, versions, seed
      metrics.jsonl   one line for each optimizer step; held-out scores on the lines of evaluations
      last/           the latest weights with the state that --resume needs
      module/         a module folder with the averaged weights: what hub.Module(directory=...) opens, at any time
      report/         scores.json: masked accuracy by source, before and after; curves.svg
"""

import hashlib
import json
import logging
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from nlphub import __version__
from nlphub.checkpoints.native import weights_digest
from nlphub.data.shards import Corpus
from nlphub.errors import InputError
from nlphub.evaluation.curves import training_curves
from nlphub.files import publish_folder, publish_json, publish_text, recover_folder
from nlphub.module import Module
from nlphub.nn.initialise import initialise
from nlphub.recipe import PretrainRecipe, load_pretrain_recipe
from nlphub.training import run_folder
from nlphub.training.bar import with_bar
from nlphub.training.device.choose import require_gpu
from nlphub.training.metrics_log import MetricsLog
from nlphub.training.pretraining import state
from nlphub.training.pretraining.loop import Fact, Pretraining
from nlphub.training.pretraining.sampling import Sampler
from nlphub.training.pretraining.scores import Score, masked_scores, total
from nlphub.training.pretraining.start import start_from_counts

log = logging.getLogger(__name__)

_QUICK_TOKENS, _FINAL_TOKENS = 1024, 8192  # of each held-out shard, for an evaluation on the way and for the report


@dataclass(frozen=True, slots=True)
class Pretrained:
    """What :func:`pretrain` made.

    Attributes:
        folder: the run's folder.
        module: folder of the pretrained module.
        steps, tokens, seconds: of the whole training, resumed parts included.
        before, after: masked accuracy on held-out text by source; empty without ``data.dev``.
        weights_digest: sha256 of the kept weights.
    """

    folder: Path
    module: Path
    steps: int
    tokens: int
    seconds: float
    before: Mapping[str, Score]
    after: Mapping[str, Score]
    weights_digest: str

    @property
    def scores(self) -> dict[str, tuple[Score, Score]]:
        """Before and after by source, and ``all`` sources together."""
        pairs = {name: (self.before[name], after) for name, after in self.after.items() if name in self.before}
        return {**pairs, "all": (total(self.before), total(self.after))} if pairs else {}

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "run": str(self.folder),
            "module": str(self.module),
            "steps": self.steps,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "before": _as_dict(self.before),
            "after": _as_dict(self.after),
            "weights_sha256": self.weights_digest,
        }


def pretrain(
    recipe: PretrainRecipe | str | Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    use_gpu: bool | None = None,
    progress: bool = True,
) -> Pretrained:
    """Carry out a recipe for pretraining.

    Args:
        recipe: from :func:`nlphub.recipe.load_pretrain_recipe`, or what it takes.
        overwrite: replace an earlier run in the same folder.
        resume: go on exactly where a stopped run in the same folder was at its last checkpoint.
        use_gpu: default: when there is one.
        progress: show a progress bar when standard error is a terminal.

    Raises:
        InputError: the folder holds something already, there is no text, or ``use_gpu`` without a GPU.
        DataError: a shard is damaged or was made with another tokenizer.
        TrainingError: loss or gradients are not finite.
    """
    recipe = recipe if isinstance(recipe, PretrainRecipe) else load_pretrain_recipe(recipe)
    if use_gpu:
        require_gpu("use_gpu=True")
    folder = Path(recipe.run.folder).expanduser().absolute()
    with run_folder.alone(folder):
        run_folder.check(folder, recipe, overwrite=overwrite, resume=resume)
        device = "cuda" if (torch.cuda.is_available() if use_gpu is None else use_gpu) else "cpu"
        return _Run(recipe, folder, device, resume=resume).carry_out(progress=progress)


class _Run:
    """The parts of one pretraining, made once."""

    def __init__(self, recipe: PretrainRecipe, folder: Path, device: str, *, resume: bool) -> None:
        self.recipe, self.folder = recipe, folder
        self.module = _module(recipe).to(device)
        text = Corpus.open(Path(recipe.data.train), tokenizer_digest=self.module.tokenizer.digest)
        self.dev = _held_out(recipe, self.module)
        _start(self.module, recipe, text)
        self.fingerprint = _fingerprint(recipe, self.module)
        sampler = Sampler(text, self.module.tokenizer, max_length=recipe.data.max_length, seed=recipe.train.seed)
        self.metrics = MetricsLog(folder / "metrics.jsonl")
        if not resume:
            run_folder.begin(folder, recipe, _lock(recipe, self.module, text))
            self.metrics.begin()
        self.training = Pretraining(self.module, recipe.train, sampler)
        size = sum(parameter.numel() for parameter in self.module.parameters())
        log.info(
            "%d shards with %s tokens, %s parameters on %s in %s",
            len(text),
            f"{text.tokens:,}",
            f"{size:,}",
            device,
            self.training.precision,
        )
        self.before = self._resume() if resume else {}
        if not self.training.position.step:
            self.before = self._scores(_FINAL_TOKENS)
            publish_json(folder / "report" / "scores.json", {"before": _as_dict(self.before)})

    def carry_out(self, *, progress: bool) -> Pretrained:
        """Train to the end, keeping what is needed on the way."""
        clock = _Clock(self.recipe.train.checkpoint_minutes), _Clock(self.recipe.train.evaluate_minutes)
        for fact in with_bar(self.training.steps(), _describe, shown=progress):
            line = fact.as_dict()
            if clock[1].rings():
                held_out = total(self._scores(_QUICK_TOKENS)) if self.dev is not None else None
                line["held_out"] = held_out.as_dict() if held_out else None
                log.info("%s%s", _describe(fact)[2], f"  held-out masked accuracy {held_out.accuracy:.3f}" if held_out else "")
            self.metrics.append(line)
            if clock[0].rings():
                self._keep()
        self._keep()
        return self._finish()

    def _finish(self) -> Pretrained:
        after = self._scores(_FINAL_TOKENS)
        position = self.training.position
        scores = {"before": _as_dict(self.before), "after": _as_dict(after), "max_length": self.recipe.data.max_length}
        publish_json(self.folder / "report" / "scores.json", scores)
        publish_text(self.folder / "report" / "curves.svg", training_curves(self.metrics.read()))
        with self._averaged():
            digest = weights_digest(self.module.encoder, self.module.task_head)
        lock = json.loads((self.folder / run_folder.LOCK).read_text(encoding="utf-8"))
        publish_json(self.folder / run_folder.LOCK, {**lock, "result": {"weights_sha256": digest, "tokens": position.tokens}})
        named = Path(self.recipe.run.folder).expanduser()  # as the caller wrote it
        return Pretrained(named, named / "module", position.step, position.tokens, position.seconds, self.before, after, digest)

    def _keep(self) -> None:
        """The state first, then what can be used: a stop between the two loses nothing."""
        state.save(self.folder / "last", self.training, fingerprint=self.fingerprint)
        with self._averaged(), publish_folder(self.folder / "module") as temporary:
            state.save_module(temporary, self.module)

    def _resume(self) -> dict[str, Score]:
        """Go on from ``last/``; returns the scores from before the training, if it had come so far."""
        for name in ("last", "module"):
            recover_folder(self.folder / name)
        if not (self.folder / "last").exists():
            log.info("%s was stopped before its first checkpoint: it starts from the beginning", self.folder)
            self.metrics.begin()
            return {}
        state.load(self.folder / "last", self.training, fingerprint=self.fingerprint)
        self.metrics.cut_back(self.training.position.step)
        found = json.loads((self.folder / "report" / "scores.json").read_text(encoding="utf-8"))["before"]
        return {name: Score.of(facts) for name, facts in found.items()}

    def _scores(self, tokens: int) -> dict[str, Score]:
        if self.dev is None:
            return {}
        with self._averaged():
            return masked_scores(
                self.module, self.dev, max_length=self.recipe.data.max_length, tokens=tokens, dtype=self.training.precision
            )

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The averaged weights in the module's place, for as long as the block lasts."""
        average = self.training.average
        if average is None:
            yield
            return
        average.swap()
        try:
            yield
        finally:
            average.swap()


class _Clock:
    """Rings every so many minutes of real time."""

    def __init__(self, minutes: float) -> None:
        self.seconds, self.last = 60 * minutes, time.monotonic()

    def rings(self) -> bool:
        """Whether the time is over; then it begins anew."""
        if time.monotonic() - self.last < self.seconds:
            return False
        self.last = time.monotonic()
        return True


def _module(recipe: PretrainRecipe) -> Module:
    chosen = recipe.module
    module = Module(chosen.name, directory=chosen.directory, version=chosen.version, task="mlm", seed=recipe.train.seed, import_code=False)
    if recipe.data.max_length > module.max_length:
        raise InputError(f"data.max_length={recipe.data.max_length} is more than the {module.max_length} tokens that this module can read")
    return module


def _held_out(recipe: PretrainRecipe, module: Module) -> Corpus | None:
    if recipe.data.dev is None:
        return None
    return Corpus.open(Path(recipe.data.dev), tokenizer_digest=module.tokenizer.digest)


def _start(module: Module, recipe: PretrainRecipe, text: Corpus) -> None:
    """The weights to start from, in place."""
    if recipe.train.start == "weights":
        return
    initialise(module.encoder, seed=recipe.train.seed)
    initialise(module.task_head, seed=recipe.train.seed + 1)
    if recipe.train.start == "counts":
        start_from_counts(module.encoder, text, seed=recipe.train.seed)


def _fingerprint(recipe: PretrainRecipe, module: Module) -> str:
    """What has to be equal for two pretrainings to be the same one. Not the text: shards may appear while it runs."""
    facts = {
        "settings": recipe.train.model_dump(mode="json"),
        "max_length": recipe.data.max_length,
        "weights": weights_digest(module.encoder, module.task_head),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _lock(recipe: PretrainRecipe, module: Module, text: Corpus) -> dict[str, Any]:
    return {
        "nlphub": __version__,
        "recipe_sha256": recipe.digest(),
        "text": {name: {"tokens": text[name].tokens, "weight": text[name].weight} for name in text.shards},
        "module": {"config": module.config, "weights_sha256": weights_digest(module.encoder, module.task_head)},
        "seed": recipe.train.seed,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "device": str(module.device),
        "libraries": {name: version(name) for name in ("numpy", "safetensors", "torch")},
    }


def _as_dict(scores: Mapping[str, Score]) -> dict[str, Any]:
    return {name: score.as_dict() for name, score in scores.items()}


def _describe(fact: Fact) -> tuple[float, float, str]:
    read = f"step {fact.position.step}  {fact.position.tokens / 1e6:.1f} M tokens"
    learnt = f"loss {fact.loss:.3f}  masked accuracy {fact.accuracy:.3f}"
    return fact.done, 1.0, f"{read}  {learnt}  {fact.tokens_per_second:,.0f} tokens/s  MFU {fact.utilisation:.2f}"
