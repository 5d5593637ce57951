"""AdamW that does not pay for words that no text has: the optimizer of the Trainer.

A matrix of word embeddings is most of a small network, and a training reads a tenth of its rows. The others have gradients and moments of
zero, and all that ``torch.optim.AdamW`` does to them is to multiply them with ``1 - rate * decay``, step after step. Here the product of
these factors waits until somebody wants to see the rows (:meth:`AdamW.catch_up`). Rows that are read are learnt as ever, bit by bit.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

_TINY = 1e-6  # added to the norm that gradients are clipped to, as in torch.nn.utils.clip_grad_norm_
_MOMENTS = ("exp_avg", "exp_avg_sq")
_ROWS, _WAITING = "rows", "waiting"
_OPTIONS = ("lr", "betas", "eps", "weight_decay")


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """The rows of a parameter that are learnt.

    Attributes:
        rows: ``(n,)`` their numbers, rising.
        places: ``(all rows,)`` where each of them stands in ``rows``; 0 for the others.
    """

    rows: Tensor
    places: Tensor

    @classmethod
    def of(cls, rows: Tensor, *, size: int) -> "_Table":
        places = torch.zeros(size, dtype=torch.int64, device=rows.device)
        places[rows] = torch.arange(len(rows), device=rows.device)
        return cls(rows, places)

    def gather(self, gradient: Tensor) -> Tensor:
        """``(n, d)`` of a sparse gradient, added up in the order of the tokens, as a dense one is."""
        places = self.places[gradient._indices()[0]]
        gathered: Tensor = torch.ops.aten.embedding_dense_backward(gradient._values(), places, len(self.rows), -1, False)
        return gathered


class AdamW(torch.optim.AdamW):
    """``torch.optim.AdamW(groups, fused=True)``, with two additions: :meth:`only` and :meth:`clip`.

    Its state can be loaded into that class and the other way round, as long as all rows are learnt.
    """

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        super().__init__(groups, fused=True)
        self._tables: dict[nn.Parameter, _Table] = {}
        self._gathered: dict[nn.Parameter, Tensor] = {}
        self._divisor: Tensor | None = None

    def only(self, parameter: nn.Parameter, rows: Tensor) -> bool:
        """From now on no other rows of an embedding are read in training than these, and its gradients are sparse ones.

        Rows that have moments already, from an earlier training, stay among them.

        Args:
            parameter: ``(all rows, d)``.
            rows: numbers of rows, in any order.

        Returns:
            Whether this optimizer holds the parameter; if not, nothing was done.
        """
        if not any(parameter is held for group in self.param_groups for held in group["params"]):
            return False
        self.widen(parameter)
        learnt = [(self.state[parameter][name] != 0).any(1) for name in _MOMENTS if parameter in self.state]
        wanted = torch.zeros(len(parameter), dtype=torch.bool, device=parameter.device)
        wanted[rows] = True
        for moved in learnt:
            wanted |= moved
        self._narrow(parameter, wanted.nonzero()[:, 0])
        return True

    def clip(self, limit: float) -> float:
        """The norm of all gradients; :meth:`step` will scale them down to ``limit``, on its own pass over them."""
        gradients = [self._gradient(held) for group in self.param_groups for held in group["params"] if held.grad is not None]
        if not gradients:
            return 0.0
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        divisor = ((norm + _TINY) / limit).float()
        if norm.is_cpu:
            self._divisor = divisor if bool(divisor > 1.0) else None
        else:  # dividing by 1 is free there, and asking would be to wait
            self._divisor = divisor.clamp(min=1.0)
        return float(norm)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step; gradients of embeddings may be sparse."""
        alike: dict[tuple[Any, ...], list[nn.Parameter]] = {}  # groups of layers have one rate more often than not: fewer calls
        for group in self.param_groups:
            alike.setdefault(tuple(_fixed(group[name]) for name in _OPTIONS), []).extend(group["params"])
        for options, parameters in alike.items():
            self._step(parameters, **dict(zip(_OPTIONS, options, strict=True)))
        self._gathered, self._divisor = {}, None

    @torch.no_grad()
    def catch_up(self) -> None:
        """Let the rows that are not learnt decay for all the steps since the last time."""
        for parameter, table in self._tables.items():
            factor = self.state[parameter].pop(_WAITING, 1.0) if parameter in self.state else 1.0
            if factor != 1.0:
                kept = parameter.index_select(0, table.rows)
                parameter.mul_(factor).index_copy_(0, table.rows, kept)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, and what :meth:`clip` made of them."""
        self._gathered, self._divisor = {}, None
        super().zero_grad(set_to_none=set_to_none)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Also a state of ``torch.optim.AdamW``: rows whose moments are zero were never learnt."""
        wanted = {parameter: table.rows for parameter, table in self._tables.items()}
        super().load_state_dict(state_dict)
        self._tables = {}
        for number, parameter in enumerate(held for group in self.param_groups for held in group["params"]):
            saved = state_dict["state"].get(number, {})
            if _ROWS in saved:  # torch makes floats of all that is loaded
                rows = self.state[parameter][_ROWS] = saved[_ROWS].to(parameter.device)
                self._tables[parameter] = _Table.of(rows, size=len(parameter))
        for parameter, rows in wanted.items():
            self.only(parameter, rows)

    def _step(self, parameters: Iterable[nn.Parameter], *, lr: float, betas: tuple[float, float], eps: float, weight_decay: float) -> None:
        moved = [parameter for parameter in parameters if parameter.grad is not None]
        gradients = [self._gradient(parameter) for parameter in moved]
        states = [self._state(parameter) for parameter in moved]
        tables = [self._tables.get(parameter) for parameter in moved]
        weights = [p if table is None else p.index_select(0, table.rows) for p, table in zip(moved, tables, strict=True)]
        first, second, steps = ([state[name] for state in states] for name in (*_MOMENTS, "step"))
        adamw(
            weights, gradients, first, second, [], steps, fused=True, grad_scale=self._divisor, amsgrad=False, maximize=False,
            beta1=betas[0], beta2=betas[1], lr=lr, weight_decay=weight_decay, eps=eps,
        )  # fmt: skip
        for parameter, state, weight, table in zip(moved, states, weights, tables, strict=True):
            if table is not None:
                parameter.index_copy_(0, table.rows, weight)
                state[_WAITING] = state.get(_WAITING, 1.0) * (1.0 - lr * weight_decay)

    def _gradient(self, parameter: nn.Parameter) -> Tensor:
        """Of the rows that are learnt; a dense gradient means that all are."""
        gradient = parameter.grad
        assert gradient is not None
        if not gradient.is_sparse:
            if parameter in self._tables:  # asked here too: what widen is decorated with costs more, twice a step for every parameter
                self.widen(parameter)
            return gradient
        if parameter not in self._tables:
            raise RuntimeError("a sparse gradient needs to be announced: call optimizer.only(parameter, rows) first")
        if parameter not in self._gathered:
            self._gathered[parameter] = self._tables[parameter].gather(gradient)
        return self._gathered[parameter]

    def _state(self, parameter: nn.Parameter) -> dict[str, Any]:
        """Moments, of zero at first."""
        state: dict[str, Any] = self.state[parameter]
        if not state:
            table = self._tables.get(parameter)
            shape = parameter.shape if table is None else (len(table.rows), *parameter.shape[1:])
            state |= {"step": torch.zeros((), device=parameter.device), **{name: parameter.new_zeros(shape) for name in _MOMENTS}}
            if table is not None:
                state[_ROWS] = table.rows
        return state

    @torch.no_grad()
    def widen(self, parameter: nn.Parameter) -> None:
        """Learn all rows, as torch does."""
        if parameter not in self._tables:
            return
        self.catch_up()
        rows, state = self._tables.pop(parameter).rows, self.state.get(parameter, {})
        state.pop(_ROWS, None)
        for name in _MOMENTS if state else ():
            state[name] = torch.zeros_like(parameter).index_copy_(0, rows, state[name])

    def _narrow(self, parameter: nn.Parameter, rows: Tensor) -> None:
        self._tables[parameter] = _Table.of(rows, size=len(parameter))
        if parameter in self.state:
            state = self.state[parameter]
            state |= {name: state[name].index_select(0, rows) for name in _MOMENTS} | {_ROWS: rows}


def _fixed(option: Any) -> Any:
    return tuple(option) if isinstance(option, list) else option  # what was loaded may be a list


def clip(optimizer: torch.optim.Optimizer, parameters: Iterable[nn.Parameter], limit: float | None) -> float:
    """Clip gradients to a global norm, or see to it that the next step does; the norm before.

    Args:
        optimizer: ours does it in its step; for others the gradients are changed.
        parameters: all that have gradients.
        limit: ``None`` = no clipping.
    """
    most = math.inf if limit is None else limit
    if isinstance(optimizer, AdamW):
        return optimizer.clip(most)
    return float(torch.nn.utils.clip_grad_norm_(parameters, most))


@contextmanager
def sparse_gradients(table: nn.Embedding | None) -> Iterator[None]:
    """Within the block the gradients of an embedding are sparse: rows of the tokens that were read. ``None`` = as ever."""
    if table is not None:
        table.sparse = True
    try:
        yield
    finally:
        if table is not None:
            table.sparse = False
