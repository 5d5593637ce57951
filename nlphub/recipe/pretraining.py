"""What a recipe for pretraining may say: ``task: mlm``. See :mod:`nlphub.recipe.schema` for recipes that fine-tune."""

import hashlib
import json
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from nlphub.recipe.safe_yaml import dump
from nlphub.recipe.schema import ModuleSettings, RunSettings
from nlphub.recipe.values import Count, Fraction, Name, Positive, Settings, Share

Rate = Annotated[float, Field(gt=0, le=0.6)]


class CorpusSettings(Settings):
    """Where the text is: folders that ``nlphub pretrain-data`` wrote.

    Attributes:
        train: folder of shards; shards that appear while training runs are picked up.
        dev: folder of held-out shards, for masked accuracy; ``null`` = none.
        max_length: tokens of a sequence, [CLS] and [SEP] included; longer documents are cut into several.
    """

    train: Name
    dev: Name | None = None
    max_length: Annotated[int, Field(ge=8)] = 128

    @property
    def sources(self) -> dict[str, str]:
        """The folders by name."""
        return {"train": self.train} | ({"dev": self.dev} if self.dev is not None else {})


class PretrainSettings(Settings):
    """How to train. Exactly one of ``steps`` and ``minutes`` says how long.

    Attributes:
        start: ``weights``: go on from the module's own; ``scratch``: from random ones made of ``seed``; ``counts``: from random ones,
            but word embeddings from the text's co-occurrence counts, and first layers that look at neighbours, for short trainings.
        steps: optimizer steps.
        minutes: time of training, evaluations and checkpoints included; the schedule then follows the clock.
        shallow: share of the training, at its start, in which only the first ``shallow_layers`` layers run, for ``start: counts``: steps
            are cheaper while the network learns what needs no depth, and the other layers join as near-identities.
        shallow_layers: how many layers those are.
        batch_tokens: tokens of one optimizer step.
        max_tokens: tokens of one forward and backward pass; the gradients of several make a step.
        optimizer: ``muon``: Muon for the matrices of the layers and AdamW for the rest; or ``adamw`` for all.
        learning_rate: of the matrices of the layers.
        embedding_rate: of everything else: embeddings, norms, biases and the head.
        weight_decay: decoupled decay of matrices and embeddings.
        warmup: share of the training in which the rates rise.
        decay: share of the training, at its end, in which they fall to 0.
        clip: largest global norm of the gradients; ``null`` = no clipping.
        mask: share of words that are masked, at the start.
        mask_end: the same at the end; it changes linearly in between.
        phrases: share of words that are glued to the word before, so that phrases and names of several words are masked as one.
        pairs: share of the sequences whose passages are read two at a time, and [CLS] learns whether both say the same.
        views: share of the sequences of which a passage is read in two versions, whose mean vectors learn to find each other.
        dropout: of the encoder, which then stays the module's; 0 = none in this training, and the module keeps its own for later ones.
        average: decay of the exponential moving average of the weights, which is what is evaluated and kept; 0 = none.
        precision: of matrix products: ``bf16`` or ``fp32``; ``auto`` is bf16 on a GPU and fp32 on a CPU.
        evaluate_minutes: time between two evaluations on ``data.dev``.
        checkpoint_minutes: time between two checkpoints.
        seed: of the data's order, the masks, dropout, and new weights.
    """

    start: Literal["weights", "scratch", "counts"] = "weights"
    steps: Count | None = None
    minutes: Positive | None = None
    shallow: Annotated[float, Field(ge=0, lt=1)] = 0.0
    shallow_layers: Count = 2
    batch_tokens: Count = 8192
    max_tokens: Count = 8192
    optimizer: Literal["muon", "adamw"] = "muon"
    learning_rate: Positive = 2e-3
    embedding_rate: Positive = 1e-3
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.1
    warmup: Fraction = 0.02
    decay: Share = 0.3
    clip: Positive | None = 1.0
    mask: Rate = 0.3
    mask_end: Rate = 0.15
    phrases: Fraction = 0.15
    pairs: Fraction = 0.0
    views: Fraction = 0.0
    dropout: Fraction = 0.0
    average: Fraction = 0.999
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    evaluate_minutes: Positive = 10.0
    checkpoint_minutes: Positive = 3.0
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError("give either steps or minutes")
        if self.warmup + self.decay > 1:
            raise ValueError(f"warmup={self.warmup:g} and decay={self.decay:g} are more than the whole training")
        if self.pairs + self.views >= 1:
            raise ValueError(f"pairs={self.pairs:g} and views={self.views:g} leave no sequence as it is")
        if self.shallow and self.start != "counts":
            raise ValueError(f"shallow={self.shallow:g} needs start: counts, which damps the layers that join; start is {self.start}")
        return self


class PretrainRecipe(Settings):
    """All values of one pretraining."""

    module: ModuleSettings
    task: Literal["mlm"]
    data: CorpusSettings
    train: PretrainSettings
    run: RunSettings

    def to_yaml(self) -> str:
        """The resolved recipe, defaults included."""
        return dump(self.model_dump(mode="json"))

    def digest(self) -> str:
        """SHA-256 of all values, as 64 hexadecimal digits."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(canonical.encode("ascii")).hexdigest()
