"""What a recipe may say: every key with its meaning, unit and default. Unknown keys and wrong types are errors."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from nlphub.errors import InputError
from nlphub.labels import ONE_LABEL, score_name
from nlphub.recipe.distillation import DistillSettings
from nlphub.recipe.safe_yaml import dump
from nlphub.recipe.space import Space, space_problems
from nlphub.recipe.training import TrainSettings
from nlphub.recipe.values import Asked, Bounds, Name, Settings, Share


class ModuleSettings(Settings):
    """Which pretrained module to start from: a ``name`` of the registry or a ``directory``.

    Attributes:
        name: a name or alias of ``nlphub list``.
        version: ``"0.1.0"`` or conditions such as ``">=0.1,<2"``; default is the newest.
        directory: a folder written by ``Module.save`` or by a run, instead of a name.
        variant: of the task's head, where it has several: ``linear`` (the usual one), ``crf`` or ``pointer`` of token-cls, the first two
            of joint too, ``cross-encoder`` (the usual one) or ``bi-encoder`` of text-matching.
    """

    name: Name | None = None
    version: Name | None = None
    directory: Name | None = None
    variant: Name | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.name is None) == (self.directory is None):
            raise ValueError("give either a name (nlphub list) or a directory")
        if self.directory is not None and self.version is not None:
            raise ValueError("a version belongs to a name, not to a directory")
        return self


_LATER = ("corrections", "format", "labels", "value", "bounds", "slots")  # keys of `data` that came later


class DataSettings(Settings):
    """Where the examples are and which columns hold them, as in :func:`nlphub.load_data`.

    Attributes:
        train: a file, ``bundle:...`` or ``hf://org/name#split``.
        dev: the same for the examples that choose the best weights; or let ``split`` cut them off ``train``.
        test: the same for the examples that judge the result.
        text: the column of texts.
        label: the column of labels.
        pair: the column of second texts, for tasks over two texts.
        spans: the column of spans or of tags, for token-cls.
        split: shares of ``train`` to cut off, e.g. ``{dev: 0.1}``, stratified and seeded by ``train.seed``.
        encoding: of text files; default: found out from the whole file.
        quotes: whether fields of csv and tsv files may be quoted; ``false`` for files in which ``"`` is a character like any other.
        max_length: tokens of a sequence, with [CLS] and [SEP]; longer texts are cut. Default: what the tokenizer allows.
        corrections: the file of ``nlphub suspects`` after you edited it: labels of ``train`` are replaced, or rows left out, as it says.
        labels: the column of sets of labels, for multi-label: a list, or labels with ``|`` or ``;`` between them.
        value: the column of numbers, for regression.
        bounds: the smallest and the largest number that there may be, e.g. ``[0, 5]``; others are errors of the data.
        format: ``conll``, ``doccano``, ``label-studio`` or ``words``: files of token-cls as annotation tools and corpora have them.
        slots: the column of slots, for joint: values as ``{"city": "北京"}``, or places; ``label`` is the column of intents then.
    """

    train: Name
    dev: Name | None = None
    test: Name | None = None
    text: Name = "text"
    label: Name = "label"
    pair: Name | None = None
    spans: Name | None = None
    split: dict[Name, Share] = Field(default_factory=dict)
    encoding: Name | None = None
    quotes: bool = True
    max_length: Annotated[int, Field(ge=3)] | None = None
    corrections: Name | None = None
    format: Literal["conll", "doccano", "label-studio", "words"] | None = None
    labels: Name | None = None
    value: Name | None = None
    bounds: Bounds | None = None
    slots: Name | None = None

    @property
    def sources(self) -> dict[str, str]:
        """The splits that are given as files or hub ids, by name."""
        given = {"train": self.train, "dev": self.dev, "test": self.test}
        return {name: source for name, source in given.items() if source is not None}

    def decisive(self) -> dict[str, Any]:
        """What decides the examples. What is not there does not count: old runs and records stay what they were."""
        values = self.model_dump(mode="json")
        return {name: value for name, value in values.items() if name not in _LATER or value is not None}

    @model_validator(mode="after")
    def _splits_agree(self) -> Self:
        if self.format is not None and self.spans is not None:
            raise ValueError("format says where the spans are, and spans names a column of a table; keep one")
        if self.bounds is not None and (self.value is None or not self.bounds[0] < self.bounds[1]):
            raise ValueError("bounds are of data.value, the smallest number first")
        others = (self.spans, self.format, self.labels, self.value, self.slots)
        if self.corrections is not None and any(name is not None for name in others):
            raise ValueError("corrections are of texts with one label each; spans, slots, labels and value are corrected in their own file")
        for name in self.split:
            if name not in ("dev", "test"):
                raise ValueError(f"split can cut off 'dev' and 'test', not {name!r}")
            if name in self.sources:
                raise ValueError(f"{name!r} is given both as data.{name} and in data.split; keep one")
        if sum(self.split.values()) >= 1:
            raise ValueError(f"the shares in split add up to {sum(self.split.values()):g} and leave nothing to train on")
        return self


class CalibrationSettings(Settings):
    """How a trained module of seq-cls or text-matching gets believable probabilities and learns to say no; needs a dev set.

    Attributes:
        aim: one of ``{precision: 0.95}`` (so many of the accepted answers are right), ``{coverage: 0.9}`` (so many texts get an accepted
            answer), ``{rejection: 0.9}`` (so many out-of-scope texts are rejected); ``null`` = every answer is accepted.
        confidence: what an answer is accepted by: ``probability``, ``energy``, ``neighbours`` (similarity to training examples); ``auto`` =
            the one that is best on dev.
        per_label: labels with 20 answers or more on dev get thresholds of their own.
        out_of_scope: a file of texts that belong to no label, in the column ``data.text``; one half helps to choose, the other judges.
    """

    aim: Annotated[dict[Literal["precision", "coverage", "rejection"], Share], Field(min_length=1, max_length=1)] | None = None
    confidence: Literal["auto", "probability", "energy", "neighbours"] = "auto"
    per_label: bool = False
    out_of_scope: Name | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.aim is not None and "rejection" in self.aim and self.out_of_scope is None:
            raise ValueError("aim rejection needs out_of_scope, a file of texts that belong to no label")
        return self


class RunSettings(Settings):
    """Where the run is kept.

    Attributes:
        folder: for checkpoints, metrics, the resolved recipe and the report; relative to the current folder.
    """

    folder: Name


class ExportSettings(Settings):
    """What to export when training is over.

    Attributes:
        folder: for the artefact, relative to the current folder; ``null`` = no export.
        int8: ``auto``, ``static`` or ``dynamic``: graphs of 8 bits too, which have to pass on the dev set; ``none`` = only float32.
        int8_bound: points of the score, 0 to 100, that they may lose.
        fp16: a graph for graphics cards too.
    """

    folder: Name | None = None
    int8: Literal["none", "auto", "static", "dynamic"] = "none"
    int8_bound: Annotated[float, Field(ge=0, le=100)] = 0.5
    fp16: bool = False

    @property
    def smaller(self) -> bool:
        """Whether it needs a dev set."""
        return self.folder is not None and (self.fp16 or self.int8 != "none")

    def decisive(self) -> dict[str, Any]:
        """What decides the artefact. Keys that came later do not count where they say nothing, so that old digests stay."""
        values, usual = self.model_dump(mode="json"), ExportSettings().model_dump(mode="json")
        return {name: value for name, value in values.items() if name == "folder" or value != usual[name]}


class Recipe(Settings):
    """All values of one run.

    Attributes:
        task: what to train, e.g. ``seq-cls``.
        distill: a teacher that the module learns from besides the labels; ``null`` = none.
        examples: texts, or ``[first, second]`` pairs of them, to predict at the end, to show what came out.
        tune: what ``nlphub tune`` tries: keys of ``train``, each with choices ``[8, 16]`` or with a range
            ``{low: 1e-5, high: 1e-3, log: true}``; without any, a space that suits most data.
    """

    module: ModuleSettings
    task: Literal["seq-cls", "token-cls", "multi-label", "regression", "text-matching", "joint"]
    data: DataSettings
    train: TrainSettings = Field(default=TrainSettings(), validate_default=True)
    distill: DistillSettings | None = None
    calibration: CalibrationSettings = CalibrationSettings()
    run: RunSettings
    export: ExportSettings = ExportSettings()
    examples: Asked = ()
    tune: Space = Field(default_factory=dict)

    @field_validator("train")
    @classmethod
    def _metric_of_the_task(cls, train: TrainSettings, info: ValidationInfo) -> TrainSettings:
        """The default is written out, so that a run says by which score its weights were chosen."""
        if "task" not in info.data:
            return train  # it is wrong, and is reported
        try:
            return train.model_copy(update={"metric": score_name(train.metric, info.data["task"])})
        except InputError as wrong:
            raise ValueError(str(wrong)) from wrong

    @field_validator("train")
    @classmethod
    def _options_of_the_task(cls, train: TrainSettings, info: ValidationInfo) -> TrainSettings:
        if found := train.problems(info.data.get("task", "seq-cls")):
            raise ValueError("; ".join(found))
        return train

    @model_validator(mode="after")
    def _options_of_the_variant(self) -> Self:
        if found := self.train.not_of_variant(self.module.variant):
            raise ValueError("; ".join(found))
        return self

    @model_validator(mode="after")
    def _space_fits(self) -> Self:
        if found := space_problems(self.tune, self.train):
            raise ValueError("; ".join(found))
        return self

    @property
    def nested(self) -> bool:
        """Whether spans may overlap."""
        return self.module.variant == "pointer"

    @model_validator(mode="after")
    def _columns_of_the_task(self) -> Self:
        if (self.data.spans is not None or self.data.format is not None) != (self.task == "token-cls"):
            raise ValueError(
                "task token-cls, and no other, needs data.spans: the column of spans, or of tags beside data.text=tokens; or data.format"
            )
        if (self.data.labels is not None) != (self.task == "multi-label"):
            raise ValueError("task multi-label, and no other, needs data.labels: the column of sets of labels")
        if (self.data.value is not None) != (self.task == "regression"):
            raise ValueError("task regression, and no other, needs data.value: the column of numbers")
        if (self.data.slots is not None) != (self.task == "joint"):
            raise ValueError("task joint, and no other, needs data.slots: the column of slots beside data.label, that of intents")
        if self.task == "text-matching" and self.data.pair is None:
            raise ValueError("task text-matching needs data.pair: the column of second texts")
        return self

    @model_validator(mode="after")
    def _method_of_the_texts(self) -> Self:
        if self.data.pair is not None and self.train.method != "finetune":
            raise ValueError(f"train.method: {self.train.method} is for single texts, and data.pair names a column of second ones")
        return self

    @model_validator(mode="after")
    def _teacher_fits(self) -> Self:
        if self.distill is not None and self.train.method != "finetune":
            raise ValueError(f"distill is learnt by steps, and train.method is {self.train.method}: set train.method=finetune")
        if self.distill is not None and self.train.r_drop:
            raise ValueError("distill judges one pass, and train.r_drop makes two: leave one of them out")
        return self

    @model_validator(mode="after")
    def _calibration_of_the_task(self) -> Self:
        if self.task not in ONE_LABEL and self.calibration != CalibrationSettings():
            raise ValueError(f"calibration is of tasks {' and '.join(ONE_LABEL)}, and this recipe's is {self.task}")
        if (
            self.calibration.aim is not None
            and self.data.dev is None
            and "dev" not in self.data.split
            and not self.data.train.startswith("hf://")
        ):
            raise ValueError("calibration.aim needs a dev set to choose thresholds on: give data.dev, or data.split={dev: 0.1}")
        return self

    @model_validator(mode="after")
    def _smaller_needs_dev(self) -> Self:
        if self.export.smaller and self.data.dev is None and "dev" not in self.data.split and not self.data.train.startswith("hf://"):
            raise ValueError("export.int8 and export.fp16 need a dev set to measure what is lost: give data.dev, or data.split={dev: 0.1}")
        return self

    @model_validator(mode="after")
    def _folders_differ(self) -> Self:
        if self.export.folder is not None:
            run, export = (Path(folder).absolute() for folder in (self.run.folder, self.export.folder))
            if run.is_relative_to(export):
                raise ValueError(f"export.folder {self.export.folder!r} would replace run.folder {self.run.folder!r}; give it another name")
        return self

    def to_yaml(self) -> str:
        """The resolved recipe, defaults included; :func:`nlphub.load_recipe` reads it back as an equal recipe."""
        return dump(self.model_dump(mode="json"))

    def digest(self) -> str:
        """SHA-256 of all values, as 64 hexadecimal digits; options of training that are off, and an empty ``tune``, do not count."""
        sections = {"data": self.data.decisive(), "train": self.train.decisive(), "export": self.export.decisive()}
        values = {**self.model_dump(mode="json"), **sections}
        if values["module"]["variant"] is None:
            del values["module"]["variant"]
        if values["distill"] is None:
            del values["distill"]
        canonical = json.dumps({name: value for name, value in values.items() if name != "tune" or value}, sort_keys=True)
        return hashlib.sha256(canonical.encode("ascii")).hexdigest()
