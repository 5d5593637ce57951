"""Robustness: labelled texts are written otherwise (other characters, slips, habits, speech), and the answers compared.

The perturbations are plain functions of a text and a generator, grouped by what causes them: :mod:`folded` (forms of the same
characters), :mod:`slips`, :mod:`habits`, :mod:`numerals`, :mod:`speech`; :mod:`catalogue` names them, :mod:`check` compares.
"""

from nlphub.evaluation.robustness.catalogue import PERTURBATIONS, Perturbation, selected
from nlphub.evaluation.robustness.check import Flip, Outcome, Robustness, check_robustness

__all__ = ["PERTURBATIONS", "Flip", "Outcome", "Perturbation", "Robustness", "check_robustness", "selected"]
