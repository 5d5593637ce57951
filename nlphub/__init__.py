"""nlphub: a pretrained-model hub and fine-tuning platform for Chinese NLP.

``import nlphub as hub`` costs a few milliseconds: every public name is resolved at its first use (PEP 562), so that
torch, datasets and jieba are loaded only by what needs them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nlphub.checkpoints.convert import convert
    from nlphub.data.examples import Example, Examples, Splits
    from nlphub.data.read import load_data
    from nlphub.data.spans import Span
    from nlphub.errors import NlphubError
    from nlphub.hub.registry import find_module, list_modules
    from nlphub.module import Module
    from nlphub.nn.likelihood import SentenceScore, score_sentences
    from nlphub.nn.whole_words import fill_words
    from nlphub.recipe import Recipe, TrainSettings, load_recipe
    from nlphub.runtime.predictor import Predictor
    from nlphub.tasks.fill_mask import FilledMask, FilledText
    from nlphub.tasks.joint import JointPrediction
    from nlphub.tasks.labelsets import LabelsPrediction
    from nlphub.tasks.predictions import Prediction
    from nlphub.tasks.tokens import FoundSpan, SpanPrediction
    from nlphub.tasks.values import ValuePrediction
    from nlphub.training.calibrate import calibrate
    from nlphub.training.folds import cross_validate
    from nlphub.training.optim import parameter_groups
    from nlphub.training.rates import find_learning_rate
    from nlphub.training.repeats import repeat
    from nlphub.training.run import finetune
    from nlphub.training.thresholds import set_thresholds
    from nlphub.training.trainer import Report, Trainer
    from nlphub.training.tuning import tune

__version__ = "0.1.0"

_HOMES = {
    "Example": "data.examples",
    "Examples": "data.examples",
    "FilledMask": "tasks.fill_mask",
    "FilledText": "tasks.fill_mask",
    "FoundSpan": "tasks.tokens",
    "JointPrediction": "tasks.joint",
    "LabelsPrediction": "tasks.labelsets",
    "Module": "module",
    "NlphubError": "errors",
    "Prediction": "tasks.predictions",
    "Predictor": "runtime.predictor",
    "Recipe": "recipe",
    "Report": "training.trainer",
    "SentenceScore": "nn.likelihood",
    "Span": "data.spans",
    "SpanPrediction": "tasks.tokens",
    "Splits": "data.examples",
    "TrainSettings": "recipe",
    "Trainer": "training.trainer",
    "ValuePrediction": "tasks.values",
    "calibrate": "training.calibrate",
    "convert": "checkpoints.convert",
    "cross_validate": "training.folds",
    "fill_words": "nn.whole_words",
    "finetune": "training.run",
    "find_learning_rate": "training.rates",
    "find_module": "hub.registry",
    "list_modules": "hub.registry",
    "load_data": "data.read",
    "load_recipe": "recipe",
    "parameter_groups": "training.optim",
    "pretrain": "training.pretraining.run",
    "repeat": "training.repeats",
    "score_sentences": "nn.likelihood",
    "set_thresholds": "training.thresholds",
    "tune": "training.tuning",
}

__all__ = [
    "Example",
    "Examples",
    "FilledMask",
    "FilledText",
    "FoundSpan",
    "JointPrediction",
    "LabelsPrediction",
    "Module",
    "NlphubError",
    "Prediction",
    "Predictor",
    "Recipe",
    "Report",
    "SentenceScore",
    "Span",
    "SpanPrediction",
    "Splits",
    "TrainSettings",
    "Trainer",
    "ValuePrediction",
    "__version__",
    "calibrate",
    "convert",
    "cross_validate",
    "fill_words",
    "find_learning_rate",
    "find_module",
    "finetune",
    "list_modules",
    "load_data",
    "load_recipe",
    "parameter_groups",
    "pretrain",
    "repeat",
    "score_sentences",
    "set_thresholds",
    "tune",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'nlphub' has no attribute {name!r}; public names: {', '.join(__all__)}")
    if home.partition(".")[0] in ("checkpoints", "module", "nn", "training"):
        from nlphub.errors import require

        require("torch", extra="train", purpose=f"nlphub.{name}")
    return getattr(import_module(f"nlphub.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
