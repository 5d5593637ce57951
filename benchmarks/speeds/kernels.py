"""The kernels of a training step on a CPU, ours in C++ beside PyTorch's operations: forward and backward, the route alone is exchanged.

Shapes are those of a step of 32 texts. All else of a step is missing, so that memory lies in the caches more often than in a training:
section `train` has the whole step.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

import nlphub as hub
from nlphub.data.batching import pack
from nlphub.kernels import Draws, Layout, Site, cpu, native
from nlphub.kernels.native import build
from nlphub.kernels.reference import Dropout, Noise
from nlphub.kernels.route import Route
from nlphub.nn.encoder import to_tensors
from speeds.networks import CONFIGURATIONS, Shape, classifier
from speeds.rows import Options, Row, missing
from speeds.texts import texts_of
from speeds.timing import interleaved

BATCH, DROPOUT, EPS = 32, 0.1, 1e-5
LENGTHS = ("service", "long")  # of attention; other kernels see rows only
OURS, TORCH = "C++", "PyTorch"


@dataclass(frozen=True, slots=True)
class Work:
    """What both routes are given.

    Attributes:
        name: of the operation and its shape.
        run: the operation of a route.
        inputs: all of them learn.
    """

    name: str
    run: Callable[..., Tensor]
    inputs: tuple[Tensor, ...]


def run(options: Options) -> list[Row]:
    """A row for every operation of ours."""
    torch.set_num_threads(options.threads)
    if not native.available():
        return [missing("kernels", build.unfit() or "they could not be compiled")]
    return [compared(work, options) for name in options.configurations for work in works(name, options)]


def compared(work: Work, options: Options) -> Row:
    """Milliseconds of forward and backward of both routes, in turns."""
    slope = torch.randn_like(work.run(cpu, *work.inputs))
    timings = interleaved(
        {name: partial(_often, work, route, slope) for name, route in ((OURS, native), (TORCH, cpu))},
        options.rounds or (5 if options.quick else 15),
    )
    ours, theirs = (1e3 * timings.seconds(name, "wall") for name in (OURS, TORCH))
    told = f"forward + backward, {options.threads} threads, torch {torch.__version__}; by processor time {timings.ratio(OURS, TORCH):.2f}"
    return Row(f"kernels, {work.name}", ours, theirs, timings.ratio(OURS, TORCH, "wall"), "ms", told)


def works(name: str, options: Options) -> Iterator[Work]:
    """The operations of a configuration."""
    shape, layouts = CONFIGURATIONS[name], {lengths: _layout(name, lengths, options) for lengths in LENGTHS}
    for lengths, (layout, draws) in layouts.items():
        yield _attention(f"{name}, attention of {lengths} texts", shape, layout, draws.dropout(DROPOUT, layer=0, site=Site.ATTENTION))
    layout, draws = layouts["service"]
    rows, d, m = len(draws.positions), shape.width, shape.inner
    dropped = draws.dropout(DROPOUT, layer=0, site=Site.FEED_FORWARD_OUTPUT)
    yield _add_norm(f"{name}, dropout + residual + LayerNorm of ({rows}, {d})", rows, d, dropped)
    for wide, long in ((d, 3 * d), (d, d), (m, d)):
        inputs = (torch.randn(rows, wide), torch.randn(long, wide) / wide**0.5, torch.randn(long))
        yield Work(f"{name}, linear ({rows}, {wide}) to {long}", lambda route, *given: route.linear(*given), _learning(inputs))
    inputs = (torch.randn(rows, d), torch.randn(m, d) / d**0.5, torch.randn(m))
    yield Work(f"{name}, linear + GELU ({rows}, {d}) to {m}", lambda route, *given: route.linear_gelu(*given), _learning(inputs))


def _attention(name: str, shape: Shape, layout: Layout, dropped: Dropout | None) -> Work:
    rows = sum(run.count * run.length for run in layout.runs)

    def attend(route: Route, fused: Tensor) -> Tensor:
        q, k, v = fused.chunk(3, dim=1)
        return route.attention(q, k, v, layout, heads=shape.heads, dropped=dropped)

    return Work(f"{name}, {rows} tokens", attend, _learning((torch.randn(rows, 3 * shape.width),)))


def _add_norm(name: str, rows: int, width: int, dropped: Dropout | None) -> Work:
    def norm(route: Route, x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return route.add_norm(x, residual, weight, bias, eps=EPS, dropped=dropped)

    given = (torch.randn(rows, width), torch.randn(rows, width), torch.randn(width), torch.randn(width))
    return Work(name, norm, _learning(given))


def _learning(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(tensor.requires_grad_() for tensor in tensors)


def _layout(name: str, lengths: str, options: Options) -> tuple[Layout, Draws]:
    """Of a batch of texts, and the draws of its dropout."""
    module: hub.Module = classifier(name, options.work, spread=1.0)
    module.max_length = 512
    encoded = module.tokenize(texts_of(lengths, BATCH, options.data))
    packed = to_tensors(pack(encoded, np.argsort(np.diff(encoded.starts), kind="stable")))
    draws = Draws.of(Noise.of_step(0, 1), packed)
    assert draws is not None
    return Layout.of(packed), draws


def _often(work: Work, route: Route, slope: Tensor, times: int = 4) -> float:
    for _ in range(times):
        torch.autograd.grad(work.run(route, *work.inputs), work.inputs, slope)
    return times
