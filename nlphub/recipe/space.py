"""The search space of a recipe: which values ``nlphub tune`` may try for keys of ``train``."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

Number = int | float
Tunable = Literal[
    "epochs",
    "batch_size",
    "learning_rate",
    "weight_decay",
    "layer_decay",
    "warmup",
    "schedule",
    "clip",
    "dropout",
    "label_smoothing",
    "class_weights",
    "r_drop",
    "focal",
    "adversarial",
    "adversarial_epsilon",
    "adversarial_steps",
    "average",
    "sampling",
]


class Range(BaseModel):
    """All values from ``low`` to ``high``, both included; whole numbers where the key wants them.

    Attributes:
        low: the smallest value.
        high: the largest.
        log: every factor is equally likely, instead of every difference: for rates.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    low: Number
    high: Number
    log: bool = False

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low ({self.low}) has to be below high ({self.high})")
        if self.log and self.low <= 0:
            raise ValueError(f"with log: true low has to be above 0, not {self.low}")
        return self


def _kind(value: Any) -> str:
    return "range" if isinstance(value, Mapping | Range) else "choices"


Choices = Annotated[tuple[int | float | str | None, ...], Field(strict=False, min_length=1)]  # YAML has lists, not tuples
Space = dict[Tunable, Annotated[Annotated[Range, Tag("range")] | Annotated[Choices, Tag("choices")], Discriminator(_kind)]]


def space_problems(space: Mapping[Any, Range | tuple[Any, ...]], train: BaseModel) -> list[str]:
    """Values of a space that ``train`` could not have, one sentence each."""
    return [f"tune.{key}: {complaint}" for key, values in space.items() for complaint in _complaints(str(key), values, train)]


def _complaints(key: str, values: Range | tuple[Any, ...], train: BaseModel) -> Iterator[str]:
    for value in (values.low, values.high) if isinstance(values, Range) else values:
        try:
            type(train).model_validate({key: value})
        except ValidationError as wrong:
            yield f"{wrong.errors()[0]['msg'].removeprefix('Input ')}, not {value!r}"
