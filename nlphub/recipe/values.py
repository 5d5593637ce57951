"""What the sections of a recipe are made of: frozen values without coercion, and numbers within bounds."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag


def _text_or_pair(value: Any) -> str:
    return "pair" if isinstance(value, list | tuple) else "text"


Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(min_length=1)]
Bounds = Annotated[tuple[Annotated[float, Field(strict=False)], Annotated[float, Field(strict=False)]], Field(strict=False)]
_Pair = Annotated[tuple[str, str], Field(strict=False)]
_TextOrPair = Annotated[Annotated[str, Tag("text")] | Annotated[_Pair, Tag("pair")], Discriminator(_text_or_pair)]
Asked = Annotated[tuple[_TextOrPair, ...], Field(strict=False)]


class Settings(BaseModel):
    """Frozen values without coercion: ``epochs: "3"`` is an error, not 3."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
