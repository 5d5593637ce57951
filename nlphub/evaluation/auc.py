"""The area under the ROC curve of labelled examples, as scikit-learn's ``roc_auc_score`` gives it."""

import numpy as np
from numpy.typing import NDArray

from nlphub.errors import InputError
from nlphub.evaluation.rejection import auroc


def area_under_curve(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """How often a positive example has the higher score of the two, in a random pair of one positive and one negative; a tie counts half.

    That is the area under the ROC curve (Hanley and McNeil, 1982), 0 to 1, and 0.5 of scores that know nothing. Unlike accuracy it does
    not depend on where the scores are cut, nor on how frequent the two labels are.

    Args:
        scores: ``(b,)``, higher where an example is the more likely to be positive.
        positive: ``(b,)`` which examples are.

    Raises:
        InputError: different lengths, scores that are no numbers, or examples of one kind only: there is no such pair then.
    """
    problems = []
    if scores.shape != positive.shape or scores.ndim != 1:
        problems.append(f"{scores.shape} scores, but {positive.shape} answers; both are (b,)")
    elif not 0 < positive.sum() < len(positive):
        problems.append(f"{int(positive.sum())} of {len(positive)} examples are positive; at least one of each kind is needed")
    if np.isnan(scores).any():
        problems.append(f"{int(np.isnan(scores).sum())} scores are NaN")
    if problems:
        raise InputError("These scores have no area under a curve.", problems)
    return auroc(scores[positive], scores[~positive])
