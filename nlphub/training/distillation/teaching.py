"""What a module learns from a teacher, as a term of the loss: :class:`Taught` stands where an ``Objective`` does.

The teacher answers every training text once, before the first step. Its hidden states and relations would fill the memory: they are
computed again with each batch. It never has dropout and never changes.

Notation: ``b`` texts, ``t`` tokens, ``r`` rows that have a loss (``b`` texts, or ``t`` tokens of token-cls), ``n`` outputs of a head.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nlphub.checkpoints.native import weights_digest
from nlphub.data.batching import Packed, pack, token_rows
from nlphub.data.examples import Examples
from nlphub.errors import InputError
from nlphub.kernels import Layout, Noise
from nlphub.labels import WHOLE_TEXTS
from nlphub.module import Module
from nlphub.nn.encoder import to_tensors
from nlphub.nn.forms import variant_of
from nlphub.nn.inference import head_logits
from nlphub.recipe.distillation import DistillSettings
from nlphub.tasks import outputs_of
from nlphub.tasks.base import IGNORED
from nlphub.text.encoding import Encoded, Sequences
from nlphub.training.distillation.losses import hidden_distance, relation_distance, relation_heads, soft_binary, soft_cross_entropy
from nlphub.training.distillation.taps import Seen, watched
from nlphub.training.objectives import Objective
from nlphub.training.optim import join

TASKS = ("seq-cls", "text-matching", "token-cls", "multi-label", "regression")


class Teaching:
    """A teacher, and what of it is learnt.

    Args:
        teacher: a trained module; it is not changed.
        settings: ``teacher``, ``unlabelled`` and ``copies`` are not looked at: texts are the caller's.
        labelled: how many of the training texts, the first ones, have labels of their own; the others have the teacher's. ``None`` = all.
    """

    def __init__(self, teacher: Module, settings: DistillSettings, *, labelled: int | None = None) -> None:
        self.teacher, self.settings, self.labelled = teacher, settings, labelled

    @property
    def facts(self) -> dict[str, Any]:
        """What decides the lessons, as plain values."""
        return {
            "teacher_sha256": weights_digest(self.teacher.encoder, self.teacher.head),
            "settings": self.settings.model_dump(mode="json", exclude={"teacher", "unlabelled", "filler"}),
            "labelled": self.labelled,
        }

    def lesson(
        self, objective: Objective, *, module: Module, train: Examples, rows: Sequences, optimizer: torch.optim.Optimizer
    ) -> "Taught":
        """The loss of a training of ``module``; what is learnt beside its weights (projections) joins the optimizer.

        Raises:
            InputError: the two do not fit; all reasons at once.
        """
        problems = teaching_problems(self.teacher, module, self.settings)
        if objective.r_drop:
            problems.append("r_drop has two passes, and a teacher judges one: leave it out")
        whole = not problems and (self.settings.looks_inside or module.task == "token-cls")
        read = _read(self.teacher, train, module.max_length) if whole else None
        if read is not None and (other := _other_tokens(read, module.tokenize(train.texts, train.pairs))):
            problems.append(
                f"{other} of {len(train)} texts fall into other tokens, or are cut elsewhere, than the teacher's: only the logits of whole "
                "texts can be learnt (hidden: 0, relations: 0)"
            )
        if problems:
            raise InputError("This teacher cannot teach this module:", problems)
        made = Taught(self, objective, module, read or self.teacher.tokenize(train.texts, train.pairs), rows)
        if made.weights:
            join(optimizer, [*module.parameters(), *made.projections.parameters()])
        return made


class Taught:
    """The loss of a batch: labels and teacher.

    Attributes:
        projections: learned maps from the module's width to the teacher's, one for each layer that looks at one of the teacher's. They are
            gone when training ends.
    """

    def __init__(self, teaching: Teaching, objective: Objective, module: Module, read: Encoded, rows: Sequences) -> None:
        self.objective, self.teaching, self.read, self.rows = objective, teaching, read, rows
        self.settings, self.teacher = teaching.settings, teaching.teacher.to(module.device)
        self.labelled = len(rows) if teaching.labelled is None else teaching.labelled
        answers = head_logits(self.teacher.encoder, self.teacher.task_head, read)
        self.answers = torch.from_numpy(answers[:, _columns(self.teacher, module)]).to(module.device)
        one, other = module.encoder.config, self.teacher.encoder.config
        self.layers = layer_map(self.settings.layers, one.layers, other.layers) if self.settings.hidden else {}
        self.heads = self.settings.relation_heads or relation_heads(one.mixed, other.mixed)
        self.projections = nn.ModuleList(_projection(one.width, other.width, seed) for seed in range(len(self.layers))).to(module.device)

    @property
    def weights(self) -> dict[str, Tensor]:
        """What a checkpoint has to hold besides the module's weights."""
        return {f"projection/{name}": tensor for name, tensor in self.projections.state_dict().items()}

    def losses(self, module: Module, packed: Packed[Tensor], targets: Any, noise: Noise) -> Tensor:
        """``(r,)`` float32."""
        attention = module.encoder.config.layers if self.settings.relations else None
        with watched(module.encoder, layers=self.layers, attention=attention) as seen:
            logits = module(packed, noise=noise)
        told = self.objective.of_logits(module, packed, logits, targets)
        examples = packed.examples[::2] // 2 if module.task_head.apart else packed.examples
        wanted = self._wanted(module, logits, targets, examples, packed)
        labelled = (examples < self.labelled).to(told.dtype)
        share = 1 - (1 - self.settings.logits) * _of_rows(labelled, told, packed)
        loss = (1 - share) * told + share * wanted
        if not self.settings.looks_inside:
            return loss
        inside = _of_rows(self._inside(module, packed, examples, seen), told, packed)
        return loss + (inside * (targets != IGNORED) if module.task == "token-cls" else inside)

    def _wanted(self, module: Module, logits: Tensor, targets: Any, examples: Tensor, packed: Packed[Tensor]) -> Tensor:
        """``(r,)`` how far the answers are from the teacher's."""
        temperature = self.settings.temperature
        if module.task == "regression":
            errors: Tensor = module.task_head.loss(logits, self.answers[examples, 0], packed=packed)
            return errors
        if module.task == "multi-label":
            return soft_binary(logits, self.answers[examples], temperature=temperature)
        if module.task == "token-cls":
            rows = torch.from_numpy(token_rows(self.rows, examples.cpu().numpy())).to(logits.device)
            there: Tensor = targets != IGNORED
            return soft_cross_entropy(logits, self.answers[rows], temperature=temperature) * there
        return soft_cross_entropy(logits, self.answers[examples], temperature=temperature)

    def _inside(self, module: Module, packed: Packed[Tensor], examples: Tensor, seen: Seen) -> Tensor:
        """``(b,)`` how far hidden states and relations are from the teacher's."""
        theirs = to_tensors(pack(self.read, examples.cpu().numpy()), module.device)
        attention = self.teacher.encoder.config.layers if self.settings.relations else None
        with torch.no_grad(), watched(self.teacher.encoder, layers=self.layers.values(), attention=attention) as shown:
            self.teacher.encoder(theirs, rows=module.task_head.rows)
        total = torch.zeros(len(packed.lengths), device=module.device)
        for projection, (own, other) in zip(self.projections, self.layers.items(), strict=True):
            student, teacher = seen.hidden[own], shown.hidden[other]
            if len(student) != len(teacher):  # the last layer of one of them answered for [CLS] alone
                student, teacher = (rows if len(rows) == len(total) else rows[packed.cls_rows] for rows in (student, teacher))
            total = total + self.settings.hidden / len(self.layers) * hidden_distance(projection(student), teacher, packed.lengths)
        if self.settings.relations:
            layout = Layout.of(packed)
            for one, another in zip(seen.attention, shown.attention, strict=True):
                total = total + self.settings.relations / 3 * relation_distance(one, another, layout, heads=self.heads)
        return total


def teaching_problems(teacher: Module, module: Module, settings: DistillSettings) -> list[str]:
    """Why a teacher cannot teach a module; nothing where it can."""
    if teacher.head is None or not teacher.trained:
        return ["the teacher has no trained head: name the folder of a fine-tuned run or module"]
    if teacher.task != module.task or module.task not in TASKS:
        return [f"the teacher answers task {teacher.task}, and the module is of {module.task}; both have to be one of {', '.join(TASKS)}"]
    problems = []
    if missing := sorted({*module.labels} - {*teacher.labels}):
        problems.append(f"labels that the teacher does not know: {', '.join(missing)}")
    if extra := sorted({*teacher.labels} - {*module.labels}):
        problems.append(f"labels of the teacher that the module does not have: {', '.join(extra)}")
    for who, each in (("teacher", teacher), ("module", module)):
        if (variant := variant_of(each.task_head)) in WHOLE_TEXTS:
            problems.append(
                f"the {who}'s head is a {variant}, whose answers are of whole texts: only the head linear has answers to compare"
            )
    if settings.looks_inside and (module.task_head.apart or teacher.task_head.apart):
        problems.append("hidden and relations need both texts of a pair in one sequence, and a bi-encoder reads each by itself")
    return problems + _numbers(teacher, module, settings)


def layer_map(given: Mapping[int, int] | None, own: int, theirs: int) -> dict[int, int]:
    """Layer of the module -> layer of the teacher, 0 being what goes into the first one; evenly where nothing is given."""
    return dict(sorted(given.items())) if given else {number: round(number * theirs / own) for number in range(own + 1)}


def _numbers(teacher: Module, module: Module, settings: DistillSettings) -> list[str]:
    """Layers that are not there, and relation heads that divide nothing."""
    one, other = module.encoder.config, teacher.encoder.config
    given = settings.layers or {}
    problems = [f"layers: the module has no layer {number}; it has {one.layers}" for number in given if number > one.layers]
    problems += [f"layers: the teacher has no layer {number}; it has {other.layers}" for number in given.values() if number > other.layers]
    heads = settings.relation_heads
    wrong = [width for width in (one.mixed, other.mixed) if heads and width % heads]
    if settings.relations and wrong:
        problems.append(
            f"relation_heads={heads} does not divide {' and '.join(map(str, wrong))}; {relation_heads(one.mixed, other.mixed)} does"
        )
    return problems


def _read(teacher: Module, train: Examples, max_length: int) -> Encoded:
    """The training texts as the teacher reads them where its tokens have to be the module's."""
    return teacher.tokenizer.encode(train.texts, train.pairs, max_length=min(teacher.max_length, max_length))


def _other_tokens(one: Encoded, other: Encoded) -> int:
    """How many texts have other tokens, whatever their ids."""
    same = [
        np.array_equal(one.offsets[a:b], other.offsets[c:d])
        for a, b, c, d in zip(one.starts[:-1], one.starts[1:], other.starts[:-1], other.starts[1:], strict=True)
    ]
    return same.count(False)


def _columns(teacher: Module, module: Module) -> Sequence[int]:
    """Where the teacher has each output of the module."""
    theirs, own = (outputs_of(each.task_head.task, each.labels, variant_of(each.task_head)) for each in (teacher, module))
    return [theirs.index(name) for name in own]


def _of_rows(values: Tensor, like: Tensor, packed: Packed[Tensor]) -> Tensor:
    """Values of texts as values of their rows, where the loss is of tokens."""
    return values if len(values) == len(like) else torch.repeat_interleave(values, packed.lengths.to(values.device))


@torch.no_grad()
def _projection(width: int, wanted: int, seed: int) -> nn.Linear:
    """The identity between equal widths; else small random numbers, of ``seed``, that keep the size of a row."""
    made = nn.Linear(width, wanted, bias=False)
    values = torch.eye(width) if width == wanted else torch.randn(wanted, width, generator=torch.Generator().manual_seed(seed)) / width**0.5
    made.weight.copy_(values)
    return made
