"""How far a module is from its teacher: of answers, of hidden states, of attention relations; each a value of a text or of a row, float32.

Notation: ``r`` rows that have answers, ``n`` outputs of a head, ``t`` tokens of a batch, ``b`` sequences, ``d`` width,
``a`` relation heads.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from nlphub.kernels import Layout

MOST_RELATIONS = 48  # heads: as many as MiniLMv2 has for a teacher 768 wide


def soft_cross_entropy(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """``(r,)``: the Kullback-Leibler divergence from the teacher's classes to the student's at a temperature, times its square.

    The square keeps the gradients' size where the temperature rises (Hinton et al., 2015, arXiv:1503.02531, section 2.1).

    Args:
        student, teacher: ``(r, n)`` logits.
    """
    told, wanted = (student.float() / temperature).log_softmax(1), (teacher.float() / temperature).log_softmax(1)
    return temperature**2 * (wanted.exp() * (wanted - told)).sum(1)


def soft_binary(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """The same where each output is there or not by itself: the sum over the outputs."""
    told, wanted = student.float() / temperature, teacher.float() / temperature
    there = wanted.sigmoid()
    difference = there * (F.logsigmoid(wanted) - F.logsigmoid(told)) + (1 - there) * (F.logsigmoid(-wanted) - F.logsigmoid(-told))
    return temperature**2 * difference.sum(1)


def hidden_distance(student: Tensor, teacher: Tensor, lengths: Tensor) -> Tensor:
    """``(b,)``: the mean square distance of hidden rows, over the width and the tokens of each text.

    Args:
        student, teacher: ``(t, d)``, the student's projected to the teacher's width; or ``(b, d)`` of [CLS] rows alone.
        lengths: ``(b,)`` tokens of each text.
    """
    squares = (student.float() - teacher.float()).square().mean(1)
    return squares if len(squares) == len(lengths) else torch.segment_reduce(squares, "mean", lengths=lengths.to(squares.device))


def relation_distance(student: Tensor, teacher: Tensor, layout: Layout, *, heads: int) -> Tensor:
    """``(b,)``: the divergence from the teacher's self-attention relation to the student's, the mean over tokens and relation heads.

    A relation is ``softmax(x x' / sqrt(width of a relation head))`` of the queries, of the keys or of the values of a layer, whose heads
    are joined and cut anew into ``a``, so that teacher and student may have other heads and other widths (Wang et al., 2021,
    MiniLMv2, arXiv:2012.15828).

    Args:
        student, teacher: ``(t, ...)`` queries, keys or values, each of its own width.
        layout: of the batch.
        heads: a.
    """
    found = []
    for run in layout.runs:
        rows = slice(run.row, run.row + run.count * run.length)
        told, wanted = (_relations(part[rows].float(), run.count, heads) for part in (student, teacher))
        found.append((wanted.exp() * (wanted - told)).sum(-1).mean((1, 2)))
    return torch.cat(found)


def relation_heads(one: int, other: int) -> int:
    """How many relation heads two widths can have: the largest common divisor up to :data:`MOST_RELATIONS`."""
    shared = math.gcd(one, other)
    return next(count for count in range(min(shared, MOST_RELATIONS), 0, -1) if shared % count == 0)


def _relations(rows: Tensor, count: int, heads: int) -> Tensor:
    """``(count, a, n, n)`` logarithms of the relations of ``count`` texts of equal length."""
    parts = rows.reshape(count, len(rows) // count, heads, -1).transpose(1, 2)
    relations: Tensor = (parts @ parts.transpose(2, 3) / math.sqrt(parts.shape[-1])).log_softmax(-1)
    return relations
