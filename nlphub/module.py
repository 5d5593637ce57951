"""A module: encoder + head + tokenizer under one name, from raw strings to predictions.

It knows where its parts come from and how they fit. The mathematics is in :mod:`nlphub.nn`, the training in :mod:`nlphub.training`.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nlphub.calibration import NEUTRAL, Calibration
from nlphub.checkpoints import native, upstream
from nlphub.checkpoints.folders import length_of, module_folder
from nlphub.data.apart import encode_apart
from nlphub.data.batching import Packed
from nlphub.errors import InputError, UnknownNameError, WeightsError
from nlphub.files import publish_folder
from nlphub.hub import store, zoo
from nlphub.hub.registry import find_module
from nlphub.kernels import Noise, explain
from nlphub.labels import FIXED_LABELS, label_names, task_name
from nlphub.nn.forms import check_kind, head_class, reformed, variant_of
from nlphub.nn.heads import Head
from nlphub.nn.inference import head_logits, sentence_vectors
from nlphub.nn.initialise import initialise
from nlphub.nn.prototypes import learn_label
from nlphub.tasks import outputs_of, task_named
from nlphub.tasks.base import Inputs, Task
from nlphub.tasks.predictions import as_texts
from nlphub.text.encoding import Encoded
from nlphub.text.tokenizers import Tokenizer

if TYPE_CHECKING:
    from nlphub.export.onnx import ExportReport

log = logging.getLogger(__name__)


class Module(nn.Module):
    """A pretrained or fine-tuned module.

    Exactly one of ``name`` and ``directory`` is given.

    Args:
        name: a name or alias of the registry, e.g. ``"ernie_tiny"``.
        directory: a folder written by :meth:`save`, the folder of a run, or your own module folder (whose code is then imported).
        version: ``"0.1.0"`` or conditions such as ``">=0.1,<2"``; default is the newest.
        task: e.g. ``"seq-cls"``; without one a pretrained module has no head until a Trainer or :meth:`add_head` makes it.
        labels: the label names: in the order of the logits for seq-cls, the types of spans for token-cls; of joint
            ``{"intents": [...], "slots": [...]}``.
        num_classes: instead of ``labels``, which are then called "0", "1", ...
        label_map: PaddleHub's form of ``labels``: number -> name.
        variant: of the task's head, where it has several: ``"cross-encoder"`` (the usual one) or ``"bi-encoder"`` of text-matching.
        load_checkpoint: a folder whose weights replace the pretrained ones (PaddleHub's word for it).
        max_length: tokens of a sequence, [CLS] and [SEP] included; longer texts are cut. Default: what the folder says, or else all that
            the network has positions for. It is saved and exported with the module.
        seed: decides the initial weights of a new head.
        import_code: whether a ``directory`` with a transformer.py, i.e. a module folder of your own, may run its code. Recipes and
            commands, whose paths may come from somebody else, never let it.

    Raises:
        UnknownNameError: no such module, version or task.
        InputError: arguments that contradict one another.
        WeightsError: weights that do not fit.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        directory: str | Path | None = None,
        version: str | None = None,
        task: str | None = None,
        labels: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
        num_classes: int | None = None,
        label_map: Mapping[int, str] | None = None,
        variant: str | None = None,
        load_checkpoint: str | Path | None = None,
        max_length: int | None = None,
        seed: int = 0,
        import_code: bool = True,
    ) -> None:
        super().__init__()
        if (name is None) == (directory is None):
            raise InputError("Give a module either a name (see `nlphub list`) or a directory: hub.Module(name='ernie_tiny')")
        if name is not None:
            card = find_module(name, version=version)
            folder, origin = (
                upstream.install(card),
                {"base": {"name": card.name, "version": card.version, "licence": store.licence_of(card)}},
            )
        else:
            folder, origin = module_folder(Path(str(directory)), import_code=import_code), {}
        self.config: dict[str, Any] = native.load_config(folder) | origin
        parts = zoo.load(self.config["architecture"])
        self.encoder = parts.transformer(**self.config["encoder"])
        self.tokenizer: Tokenizer = parts.tokenizer(folder)
        native.check_tokenizer(self.config, self.tokenizer)
        self.max_length = length_of(self.config, max_length, longest=min(self.tokenizer.max_length, self.encoder.config.positions))
        self.heads: dict[str, type[Head]] = parts.heads
        self.head: Head | None = None
        self.labels: tuple[str, ...] = ()
        self.calibration: Calibration = NEUTRAL
        self.numbered = label_map is not None
        self.trained = False
        self.seed = seed
        self.variant = variant
        self._make_head(task_name(task), label_names(labels, num_classes=num_classes, label_map=label_map))
        self._fill(folder)
        if load_checkpoint is not None:
            self._load_checkpoint(Path(load_checkpoint))
        self.eval()

    @property
    def task(self) -> str | None:
        """The task of the head, ``None`` without one."""
        return self.head.task if self.head is not None else None

    @property
    def task_head(self) -> Head:
        """The head.

        Raises:
            InputError: the module has none yet.
        """
        if self.head is None:
            raise InputError(
                f"{self.config['architecture']} has no task head yet. Fine-tune it with hub.Trainer, or make the head at once: "
                "hub.Module(name=..., task='seq-cls', labels=[...])"
            )
        return self.head

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def add_head(self, task: str, labels: Sequence[str]) -> None:
        """Give the module a new, untrained head.

        Raises:
            UnknownNameError: this module has no head for ``task``.
            InputError: labels that are empty or repeat, or a variant that the task does not have.
        """
        if task not in self.heads:
            raise UnknownNameError(f"{self.config['architecture']} has no head for task {task!r}; it has {', '.join(sorted(self.heads))}")
        made, outputs = head_class(self.heads, task, self.variant), outputs_of(task, labels, self.variant)
        head = made.fitting(self.encoder.config, outputs, dropout=self.encoder.config.dropout)
        initialise(head, seed=self.seed)
        self.take_head(head, labels)

    def take_head(self, head: Head, labels: Sequence[str], *, trained: bool = False) -> None:
        """Give the module a head that was made elsewhere, for this encoder; the calibration becomes neutral."""
        self.labels, self.head = tuple(labels), head
        head.to(self.device).attach(self.encoder)
        self.trained, self.calibration = trained, NEUTRAL
        self.train(self.training)

    def add_label(self, label: str, texts: Sequence[str]) -> None:
        """Teach a module with prototypes (``train.method: prototype`` or ``contrastive``) one more label from some ``texts``, untrained.

        The module is then bit by bit the one that all its examples, the new ones last, would have made at once; of ``contrastive`` the
        encoder stays as the old labels taught it. The calibration was of the old labels and becomes neutral.

        Raises:
            InputError: the module has no prototypes, has the label already, or a text is empty; DataError: too many examples.
        """
        names, head = learn_label(self.encoder, self.head, self.labels, label, texts, tokenize=self.tokenize)
        if self.calibration != NEUTRAL:
            log.warning("the calibration was of %d labels and is neutral now; choose it anew with hub.calibrate", len(self.labels))
        self.take_head(head, names, trained=True)

    def set_dropout(self, probability: float) -> None:
        """Change the dropout of encoder and head; it acts in training only."""
        self.encoder.set_dropout(probability)
        if self.head is not None:
            self.head.set_dropout(probability)

    def tokenize(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Encoded:
        """Ids, types and offsets of a batch, cut to the module's maximum length; pairs as the head reads them."""
        if self.head is not None and self.head.apart:
            return encode_apart(self.tokenizer, texts, pairs, max_length=self.max_length)
        return self.tokenizer.encode(texts, pairs, max_length=self.max_length)

    def forward(self, packed: Packed[Tensor], *, noise: Noise | None = None) -> Tensor:
        """Logits of a packed batch: ``(b, labels)`` for tasks on [CLS] rows, ``(t, labels)`` for tasks on all rows."""
        head = self.task_head
        hidden: Tensor = self.encoder(packed, rows=head.rows, noise=noise)
        logits: Tensor = head(hidden, packed, noise=noise)
        return logits

    def predict(self, texts: str | Sequence[str] | Sequence[Sequence[str]], *, top_k: int = 5, stride: int | None = None) -> list[Any]:
        """One answer for each text, in the caller's order: a :class:`~nlphub.Prediction` of seq-cls, a
        :class:`~nlphub.SpanPrediction` of token-cls, a :class:`~nlphub.FilledText` of mlm (whose texts say ``[MASK]``).

        Args:
            texts: strings, or ``(text, text)`` pairs for a module of pairs, or PaddleHub's lists of one string; or a single string.
            top_k: how many candidates an answer holds, where it holds any.
            stride: of token-cls and joint: tokens between the windows in which long texts are read (default: half a window); 0 = one only.

        Raises:
            InputError: there is no head, its task has no answers, or something is not of the form that the task takes.
        """
        task, inputs, logits = self._ask(texts, stride)
        if not self.trained:
            log.warning("the head of this module is untrained: its predictions mean nothing yet")
        return task.decode(logits, inputs, self.labels, top_k=top_k, calibration=self.calibration)

    def logits(self, texts: str | Sequence[str] | Sequence[Sequence[str]]) -> NDArray[np.float32]:
        """What the head says, float32, in the caller's order, before calibration: ``(b, labels)`` of seq-cls, ``(t, tags)`` of token-cls.

        Raises:
            InputError: as :meth:`predict`.
        """
        return self._ask(texts)[2]

    def encode(self, texts: str | Sequence[str], *, pooling: str = "mean") -> NDArray[np.float32]:
        """Sentence vectors ``(b, d)`` float32, in the caller's order.

        Args:
            pooling: ``"mean"`` of all tokens' hidden rows, the ``"cls"`` row, or ``"first-last"``: means of embeddings and last layer, 2d.
        """
        if pooling not in ("mean", "cls", "first-last"):
            raise InputError(f"pooling={pooling!r} is none of 'mean', 'cls', 'first-last'")
        return sentence_vectors(self.encoder, self.tokenizer.encode(as_texts(texts), max_length=self.max_length), pooling=pooling)

    def get_tokenizer(self) -> Any:
        """PaddleHub's name for ``module.tokenizer``."""
        return self.tokenizer

    def save(self, folder: str | Path) -> None:
        """Write weights, configuration, labels and tokenizer as a folder that ``hub.Module(directory=...)`` opens; all or nothing.

        Raises:
            InputError: ``folder`` holds something other than a saved module, which would be lost.
        """
        path = Path(folder).absolute()
        native.require_own(path)
        with publish_folder(path) as temporary:
            self.write(temporary)

    def write(self, folder: Path) -> None:
        """Write the same files into an existing folder that the caller publishes."""
        native.save_checkpoint(folder, encoder=self.encoder, head=self.head, tokenizer=self.tokenizer, config=self._facts())
        self.calibration.write(folder)

    def load_weights(self, folder: Path) -> None:
        """Replace all weights by those of a saved module of the same shape.

        Raises:
            WeightsError: they do not fit; the message names every missing and extra tensor.
        """
        if folder.is_dir():
            self._take_form(native.load_config(folder))
        native.load_weights(folder, encoder=self.encoder, head=self.head)
        self.trained = self.head is not None

    def export(self, folder: str | Path, *, form: str = "onnx", **options: Any) -> "ExportReport":
        """Write an artefact: ONNX, tokenizer and labels, with the parity measured against this module written down. Other forms, and
        options, are those of :func:`nlphub.export.formats.export_as`.

        Raises:
            ExportError: the exported graph does not agree with the module; nothing is left behind.
        """
        from nlphub.export.formats import export_as  # what it imports is needed here only

        parts = {"encoder": self.encoder, "head": self.task_head, "tokenizer": self.tokenizer, "labels": self.labels}
        return export_as(form, Path(folder), card=self._facts(), calibration=self.calibration, **parts, **options)

    def _ask(self, texts: Any, stride: int | None = None) -> tuple[Task, Inputs, NDArray[np.float32]]:
        task = task_named(self.task_head.task, variant_of(self.task_head), facts=self.task_head.decoding, stride=stride)
        inputs = task.read(texts, self.tokenizer, max_length=self.max_length)
        return task, inputs, head_logits(self.encoder, self.task_head, inputs.encoded, task.wanted(inputs))

    def extra_repr(self) -> str:
        """The first lines of ``print(module)``."""
        size = sum(parameter.numel() for parameter in self.parameters())
        kind = self.device.type  # elsewhere than on a CPU kernels would be tried, so compiled, to find out
        routes = explain(kind) if kind == "cpu" else f"route      as nlphub.kernels.explain({kind!r}) finds out by trying"
        return f"{self.config['architecture']}, task {self.task}, {size:,} parameters on {self.device}\n{routes}"

    def _facts(self) -> dict[str, Any]:
        facts = {"task": self.task, "labels": list(self.labels), "max_length": self.max_length}
        return {**self.config, **facts, "calibration": self.calibration.as_dict()}

    def _make_head(self, task: str | None, labels: Sequence[str] | None) -> None:
        """The head that the caller asks for, or else the one that the folder holds."""
        saved = self.config.get("task")
        if task is None and labels is not None and saved is None:
            raise InputError("labels, num_classes and label_map need a task, e.g. task='seq-cls'")
        wanted = task or saved
        if wanted:
            default = self.config.get("labels") if task in (None, saved) else FIXED_LABELS.get(wanted)
            names = labels if labels is not None else default
            if names is None and wanted in self.heads and self.heads[wanted].answers_words:
                names = self.tokenizer.vocabulary  # masked language modelling
            if names is None:
                raise InputError(f"task={wanted!r} needs labels=[...] (or num_classes=n, or label_map={{0: ...}})")
            self.add_head(wanted, names)
            self._take_form(self.config)

    def _take_form(self, config: Mapping[str, Any]) -> None:
        """Let the head have the form of the one that a folder holds for the same task and labels, unless the caller chose a variant."""
        if self.variant is None and (head := reformed(self.task_head, config, self.labels)) is not None:
            self.take_head(head, self.labels)

    def _load_checkpoint(self, path: Path) -> None:
        """A saved module's weights; its tokenizer and its labels have to be this module's, which takes them over when it has none."""
        if path.is_file():
            self.load_weights(path)  # a lone file says nothing about labels
            return
        folder = module_folder(path, import_code=False)
        config = native.load_config(folder)
        native.check_tokenizer(config, self.tokenizer)
        if self.head is None and config.get("task"):
            self.add_head(config["task"], config["labels"])
        if config.get("task") and (config["task"], tuple(config["labels"])) != (self.task, self.labels):
            raise WeightsError(
                f"{folder} answers task {config['task']} with the labels {', '.join(config['labels'])}; this module was made for "
                f"{self.task} with {', '.join(self.labels)}. Leave out task and labels to take over those of the checkpoint."
            )
        self._take_form(config)
        check_kind(folder, config, self.head)
        self._adopt(folder, config, native.load_matching(folder, config, encoder=self.encoder, head=self.head, labels=self.labels))

    def _adopt(self, folder: Path, config: Mapping[str, Any], head: Head | None) -> None:
        """What a trained head brings with it."""
        self.trained = head is not None
        self.calibration = Calibration.of(config.get("calibration"), folder) if head is not None else NEUTRAL

    def _fill(self, folder: Path) -> None:
        """Weights from the folder; or, while a module has no trained ones, from its fixed seed."""
        if native.has_weights(folder):
            head = native.load_matching(folder, self.config, encoder=self.encoder, head=self.head, labels=self.labels)
            self._adopt(folder, self.config, head)
            if head is not self.head and self.config.get("task"):
                log.warning("%s answers other labels than those asked for: the module gets a new, untrained head", folder)
            return
        log.warning(
            "%s: no trained weights exist for this version yet. Its weights are RANDOM (made from seed %d): "
            "fine-tuning works, but nothing was learnt from text before.",
            self.config["architecture"],
            self.config["initial_seed"],
        )
        initialise(self.encoder, seed=self.config["initial_seed"])
