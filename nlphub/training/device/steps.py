"""A training step as the device runs it: recorded work on buffers of fixed addresses, the next batch on its way meanwhile.

Forward and backward are recorded once for each shape; the update (clipping, AdamW, the working copy) once. A step is then a copy of the
batch and two launches, and nothing in it waits for the device.

Notation: ``T`` tokens and ``S`` sequences of a shape (:mod:`nlphub.training.device.buckets`), ``g`` parameter groups.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from nlphub.data.batching import Packed
from nlphub.kernels import Noise
from nlphub.kernels.layout import Laid, Places
from nlphub.module import Module
from nlphub.tasks.base import Targets
from nlphub.text.encoding import Ints
from nlphub.training.device.buckets import Shape, Shapes, placed, targets_with_tail, with_tail
from nlphub.training.device.fixed import FixedLayout
from nlphub.training.device.graphs import Calls, Latest, Recorder, Work
from nlphub.training.device.masters import Gradients, Update, Working
from nlphub.training.device.staging import Arrays, Form, Staging
from nlphub.training.objectives import Objective

_ROWS, _SEQUENCES = ("ids", "types", "positions"), ("starts", "cls_rows", "examples")  # of Packed, all but the lengths
_UNKNOWN = torch.empty(0, dtype=torch.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A part of a step: what is computed in one forward pass.

    Attributes:
        packed: the batch, on the host.
        targets: of it.
        share: what the sum of its losses is multiplied with: 1 / targets of the whole step.
        seed: of the step's dropout.
        rates: ``(g,)`` learning rates of the step.
    """

    packed: Packed[NDArray[Any]]
    targets: Targets
    share: float
    seed: int
    rates: Sequence[float]


@dataclass(frozen=True, slots=True)
class Told:
    """What the device said of a step: its loss, the norm of the gradients before clipping, and whether all of it was finite."""

    loss: float
    norm: float
    finite: bool


class DeviceStep:
    """The steps of one training.

    Args:
        module: whose parameters are the masters.
        objective: what is made small.
        optimizer: ``torch.optim.AdamW`` over the module.
        dtype: of the working copy: bfloat16 or float32.
        clip: largest global norm of the gradients; ``None`` = no clipping.
        shapes: of the batches; those that fit into none run as they are, without a graph.
        recorder: what a shape's work is recorded with.
        most: shapes that are kept recorded; the one that was not used longest is forgotten first.
    """

    def __init__(
        self,
        module: Module,
        objective: Objective,
        optimizer: torch.optim.AdamW,
        *,
        dtype: torch.dtype,
        clip: float | None,
        shapes: Shapes,
        recorder: Recorder,
        most: int = 8,
    ) -> None:
        self.device, self.module = module.device, module
        self.lesson = _Lesson(module, objective)
        self.working = Working(self.lesson, dtype)
        self.gradients = Gradients([self.working.masters[name] for name in self.working.learnt], self.device)
        self.shapes, self.recorder, self.optimizer, self.clip = shapes, recorder, optimizer, clip
        self._recorded = Latest[tuple[Shape, Form], _Recorded](most)
        self._ahead: tuple[Part, _Recorded] | None = None
        self._update: tuple[Update, Work] | None = None
        self._summed = torch.empty(0)
        self._readings = _Readings(self.device)

    @property
    def recorded(self) -> int:
        """Shapes that are recorded now."""
        return len(self._recorded)

    def launch(self, parts: Sequence[Part], following: Part | None = None) -> Callable[[], Told]:
        """Let the device take a step on the mean loss over ``parts``; nobody waits for it.

        Args:
            parts: of the step, at least one.
            following: the first part of the next step, which is brought to the device meanwhile.

        Returns:
            What waits for the step and reads what it told. Of the last two steps only.
        """
        self.working.refresh()
        for number, part in enumerate(parts):
            recorded = self._arrived(part)
            recorded.run()
            if len(parts) > 1:
                self._sum(first=number == 0)
            if number + 1 < len(parts) or following is not None:
                self._send(parts[number + 1] if number + 1 < len(parts) else following)
        if len(parts) > 1:
            self.gradients.flat.copy_(self._summed)
        update, run = self._updated()
        update.rates.copy_(recorded.rates)
        run()
        self.working.note()
        return self._readings.read(update.told)

    def _sum(self, *, first: bool) -> None:
        if first:
            self._summed = self.gradients.flat.clone() if not len(self._summed) else self._summed.copy_(self.gradients.flat)
        else:
            self._summed.add_(self.gradients.flat)

    def _arrived(self, part: Part) -> "_Recorded":
        """The recorded work of a part whose batch is in its buffers."""
        if self._ahead is None or self._ahead[0] is not part:
            self._send(part)
        assert self._ahead is not None
        recorded, self._ahead = self._ahead[1], None
        recorded.arrive()
        return recorded

    def _send(self, part: Part | None) -> None:
        assert part is not None
        shape = self.shapes.fit(part.packed.lengths)
        arrays, lengths = _arrays(part, shape)
        form = Form.of(arrays)
        if shape is None:
            recorded = _Recorded(form, self, shape, Calls())
        else:
            recorded = self._recorded.get((shape, form), lambda: _Recorded(form, self, shape, self.recorder))
        recorded.send(arrays, lengths)
        self._ahead = part, recorded

    def _updated(self) -> tuple[Update, Work]:
        """The update, recorded. While it is, it may be done several times: as if a step had not been finite, so that nothing changes."""
        if self._update is None:
            update = Update(self.optimizer, self.working, self.gradients, clip=self.clip)
            update.halted.fill_(1.0)
            self._update = update, self.recorder.record(update)
            update.halted.fill_(0.0)
        return self._update


class _Lesson(nn.Module):
    """From a batch to the losses of its rows, as one module, so that other weights can be put in for a call."""

    def __init__(self, module: Module, objective: Objective) -> None:
        super().__init__()
        self.module, self.objective = module, objective

    def forward(self, packed: Packed[Tensor], targets: Any, noise: Noise) -> Tensor:
        return self.objective.losses(self.module, packed, targets, noise)


class _Recorded:
    """Buffers of one shape, and the work on them."""

    def __init__(self, form: Form, step: DeviceStep, shape: Shape | None, recorder: Recorder) -> None:
        self.step, self.shape, self.recorder = step, shape, recorder
        if shape is not None and step.device.type == "cuda":
            torch.cuda.synchronize(step.device)  # it may take the place of a graph that is still at work
        self.staging = Staging(form, step.device, slots=1 if shape is None else 2)
        self.buffer = torch.zeros(form.size, dtype=torch.uint8, device=step.device)
        self.views = form.views(self.buffer)
        self._waiting: list[Tensor] = []
        self._lengths = torch.empty(0, dtype=torch.int64)
        self._work: Work | None = None

    @property
    def rates(self) -> Tensor:
        """Of the step, ``(g,)``."""
        return self.views["rates"]

    def send(self, arrays: Arrays, lengths: Ints) -> None:
        """Bring a batch on its way."""
        self.staging.put(arrays)
        self._waiting.append(torch.from_numpy(lengths))

    def arrive(self) -> None:
        """Put the oldest batch that is on its way into the buffers."""
        self.staging.take(self.buffer)
        self._lengths = self._waiting.pop(0)

    def run(self) -> None:
        """Gradients of the batch in the buffers."""
        if self._work is None:
            self._work = self.recorder.record(self._compute)
        self._work()

    def _compute(self) -> None:
        step, views = self.step, self.views
        weights = step.working.weights
        step.module.train()
        losses = functional_call(step.lesson, weights, (self._packed(), self._targets(), Noise(views["seed"])))
        loss = (losses * views["weights"][: len(losses)]).sum() * views["share"]
        learnt = [weights[name] for name in step.working.learnt]
        step.gradients.write(loss.detach(), torch.autograd.grad(loss, learnt, allow_unused=True))
        step.module.eval()

    def _packed(self) -> Packed[Tensor]:
        """The batch. A graph finds its sequences by tensors; the one without tokens, for places that are not used, is among them."""
        rows = {name: self.views[name] for name in _ROWS}
        if not self._frozen:
            return Packed(**rows, **{name: self.views[name][: len(self._lengths)] for name in _SEQUENCES}, lengths=self._lengths)
        assert self.shape is not None
        starts, lengths, order = (self.views[f"place_{name}"] for name in ("starts", "lengths", "order"))
        places = Places(starts, lengths, order, self.shape.counts)
        sequences = {name: self.views[name] for name in _SEQUENCES}
        return Laid(**rows, **sequences, lengths=_UNKNOWN, layout=FixedLayout(places, self.buffer.device))

    def _targets(self) -> Any:
        targets = tuple(view for name, view in self.views.items() if name.startswith("targets/"))
        if not self._frozen and self.shape is not None:  # without the sequence that has no tokens
            targets = tuple(one[:-1] if len(one) == self.shape.sequences + 1 else one for one in targets)
        return targets[0] if len(targets) == 1 else targets

    @property
    def _frozen(self) -> bool:
        return self.shape is not None and self.recorder.frozen


class _Readings:
    """What the device tells, on its way to the host: page-locked, two in turn."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._host = [torch.zeros(3, pin_memory=self._cuda) for _ in range(2)]
        self._done = [torch.cuda.Event() for _ in range(2)] if self._cuda else []  # type: ignore[no-untyped-call]
        self._turn = 0

    def read(self, told: Tensor) -> Callable[[], Told]:
        """Copy ``told`` ``(3,)`` when the device gets there; what comes back waits for that."""
        turn, self._turn = self._turn, 1 - self._turn
        self._host[turn].copy_(told, non_blocking=self._cuda)
        if self._cuda:
            self._done[turn].record()

        def wait() -> Told:
            if self._cuda:
                self._done[turn].synchronize()
            loss, norm, halted = self._host[turn].tolist()
            return Told(loss, norm, not halted)

        return wait


def _arrays(part: Part, shape: Shape | None) -> tuple[dict[str, NDArray[Any]], Ints]:
    """All that the device has to know of a part, by name, and the lengths, which stay on the host."""
    packed = part.packed if shape is None else with_tail(part.packed, shape)
    targets = part.targets if shape is None else targets_with_tail(part.targets, part.packed, shape)
    listed = targets if isinstance(targets, tuple) else (targets,)
    given = part.targets[0] if isinstance(part.targets, tuple) else part.targets
    more = 0 if shape is None else 1
    arrays = {name: getattr(packed, name) for name in _ROWS}
    arrays |= {name: np.append(getattr(packed, name), np.zeros(more, np.int64)) for name in _SEQUENCES}
    arrays |= {f"targets/{number}": one for number, one in enumerate(listed)}
    arrays |= {
        "weights": (np.arange(len(listed[0])) < len(given)).astype(np.float32),
        "share": np.array(part.share, np.float32),
        "seed": np.array(part.seed, np.int64),
        "rates": np.array(part.rates, np.float32),
    }
    if shape is not None:
        starts, lengths, order = placed(packed.lengths, shape)
        arrays |= {"place_starts": starts, "place_lengths": lengths, "place_order": order}
    return arrays, packed.lengths
