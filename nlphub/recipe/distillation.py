"""The `distill` section of a recipe: a module that is already good teaches the one that is trained."""

from typing import Annotated

from pydantic import Field

from nlphub.recipe.values import Count, Name, Positive, Settings

_Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Place = Annotated[int, Field(ge=0)]


class DistillSettings(Settings):
    """What the module learns from a teacher, besides the labels. The teacher answers the same task with the same labels.

    Attributes:
        teacher: the folder of a run or of a saved module.
        logits: share of the teacher's answers in the loss of labelled texts, the labels have the rest; unlabelled texts have them alone.
        temperature: by which the logits of both are divided before they are compared: above 1, what is improbable counts more.
        hidden: weight of the distance between hidden states; needs texts that both cut into the same tokens.
        layers: which layer of the teacher each layer of the module looks at, e.g. ``{1: 2, 3: 6}``, counted from 1; 0 is what goes into the
            first layer. ``null`` = evenly, the first and the last to the first and the last.
        relations: weight of the distance between attention relations, of the last layers; needs the same tokens too.
        relation_heads: of the relations, which divide the attention of both; ``null`` = as many as do, at most 48.
        unlabelled: a file of further texts, in the column ``data.text``; the teacher labels them.
        copies: how many variants of each training text are made, in which words are replaced by what a masked-language head finds likely;
            the teacher labels them.
        replaced: share of their words that is replaced.
        filler: the module whose masked-language head replaces them: a name or a folder.
    """

    teacher: Name
    logits: Annotated[float, Field(ge=0, le=1)] = 0.5
    temperature: Positive = 2.0
    hidden: _Weight = 0.0
    layers: dict[_Place, _Place] | None = None
    relations: _Weight = 0.0
    relation_heads: Count | None = None
    unlabelled: Name | None = None
    copies: Annotated[int, Field(ge=0, le=100)] = 0
    replaced: Annotated[float, Field(gt=0, le=0.6)] = 0.15
    filler: Name = "ernie_tiny"

    @property
    def looks_inside(self) -> bool:
        """Whether more than the answers of the teacher count."""
        return bool(self.hidden or self.relations)
