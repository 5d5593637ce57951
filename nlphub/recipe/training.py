"""The `train` section of a recipe: how to train."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from nlphub.labels import CLASSLESS, ONE_LABEL, WHOLE_TEXTS
from nlphub.recipe.values import Count, Fraction, Positive, Settings


def _label_keys(value: Any) -> Any:
    """Labels are strings everywhere; in YAML a label such as 3 reads as a number."""
    return {str(key) if isinstance(key, int) else key: item for key, item in value.items()} if isinstance(value, Mapping) else value


def _word_or_mapping(value: Any) -> str:
    return "mapping" if isinstance(value, Mapping) else "word"


ClassWeights = Annotated[
    Annotated[Literal["none", "balanced"], Tag("word")] | Annotated[dict[str, Positive], BeforeValidator(_label_keys), Tag("mapping")],
    Discriminator(_word_or_mapping),
]


_TextScore = Literal["macro_f1", "accuracy", "auc", "micro_f1", "subset_accuracy", "spearman", "pearson"]
_SpanScore = Literal["span_f1", "frame_accuracy", "intent_accuracy", "slot_f1"]
Metric = _TextScore | _SpanScore


class TrainSettings(Settings):
    """How to train.

    Attributes:
        epochs: passes over the training examples.
        batch_size: examples of one forward and backward pass.
        learning_rate: the highest rate of AdamW, at the end of the warm-up.
        weight_decay: decoupled decay of matrices and embeddings; biases and norms have none.
        layer_decay: factor on the learning rate for each layer further from the head; 1 = the same rate everywhere.
        warmup: share of all steps in which the rate rises from 0.
        schedule: how the rate goes down afterwards.
        clip: largest global norm of the gradients; ``null`` = no clipping.
        accumulation: batches whose gradients make one step.
        dropout: of the encoder and the head; ``null`` = the module's own.
        label_smoothing: share of the target spread over all classes; of method ``finetune``, the others have no such target.
        class_weights: ``none``, ``balanced`` (inverse frequencies, as in scikit-learn) or a weight for each label.
        patience: evaluations in a row without improvement after which training stops; ``null`` = never.
        metric: what "better" means on dev: ``macro_f1`` or ``accuracy`` for seq-cls and text-matching, which has ``auc`` too, ``span_f1``
            for token-cls, ``micro_f1``, ``macro_f1`` or ``subset_accuracy`` for multi-label, ``spearman`` or ``pearson`` for regression,
            ``frame_accuracy``, ``intent_accuracy`` or ``slot_f1`` for joint; default: the first of the task.
        max_tokens: tokens of one forward pass; batches with more are cut and their gradients accumulated.
        device: ``cpu``, or ``cuda``: a GPU, where the kernels of nlphub have not been measured yet.
        precision: of matrix products in training: ``bf16`` or ``fp32``; ``auto`` is bf16 on a GPU and fp32 on a CPU.
        seed: of splits, batches, new weights and dropout.
        evaluate_every: ``epoch``, or a number of steps.
        method: ``finetune`` learns all weights by steps. For 4 to 64 examples of each label of seq-cls: ``prototype`` finds a vector for
            each label in closed form, the encoder stays as it is; ``contrastive`` teaches the encoder first, by ``epochs`` passes, which
            texts belong together; ``auto`` takes what is best in cross-validation on the training examples.
        r_drop: weight of the divergence between two passes with different dropout (R-Drop); 0 = one pass.
        focal: exponent by which the losses of what is easy shrink (focal loss); 0 = plain cross-entropy.
        asymmetric: of multi-label: exponent by which the losses of absent labels shrink where they are improbable already (asymmetric loss;
            its authors take 4); 0 = binary cross-entropy.
        slot_weight: of joint: what the loss of the slots is multiplied with before it is added to that of the intent.
        adversarial: ``fgm`` or ``pgd``: learn the batch a second time with word embeddings moved to where the loss is higher.
        adversarial_epsilon: how far at most: the Euclidean norm over the whole matrix.
        adversarial_steps: of pgd, in which the worst place is looked for; each costs a pass. fgm takes one.
        average: decay of the exponential moving average of the weights, which is what is evaluated and kept; 0 = none.
        sampling: ``balanced``: an epoch has equally many examples of every label, the rare ones repeated; ``natural``: each once.
        backoff: how often training may go back to its best weights at half the rate, after a collapse; 0 = never.
        graphs: ``on``: steps are captured as CUDA graphs, in bf16 all through with float32 masters; ``auto``: where they can be;
            ``off``: never. Not measured on a card yet.
    """

    epochs: Count = 10
    batch_size: Count = 16
    learning_rate: Positive = 1e-4
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.01
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    warmup: Fraction = 0.1
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    clip: Positive | None = 1.0
    accumulation: Count = 1
    dropout: Fraction | None = None
    label_smoothing: Fraction = 0.0
    class_weights: ClassWeights = "none"
    patience: Count | None = None
    metric: Metric | None = None
    max_tokens: Count = 8192
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    evaluate_every: Literal["epoch"] | Count = "epoch"
    method: Literal["finetune", "prototype", "contrastive", "auto"] = "finetune"
    r_drop: Annotated[float, Field(ge=0)] = 0.0
    focal: Annotated[float, Field(ge=0)] = 0.0
    asymmetric: Annotated[float, Field(ge=0)] = 0.0
    slot_weight: Positive = 1.0
    adversarial: Literal["none", "fgm", "pgd"] = "none"
    adversarial_epsilon: Positive = 1.0
    adversarial_steps: Count = 3
    average: Fraction = 0.0
    sampling: Literal["natural", "balanced"] = "natural"
    backoff: Annotated[int, Field(ge=0)] = 0
    graphs: Literal["off", "auto", "on"] = "off"
    device: Literal["cpu", "cuda"] = "cpu"

    def problems(self, task: str) -> list[str]:
        """Options that contradict each other, or that the task cannot have."""
        found = []
        if self.r_drop and self.dropout == 0:
            found.append("r_drop compares two passes with different dropout, and dropout is 0")
        if self.sampling == "balanced" and self.class_weights == "balanced":
            found.append("sampling: balanced and class_weights: balanced would make up for rare labels twice; keep one")
        if self.sampling == "balanced" and task not in ONE_LABEL:
            found.append(f"sampling: balanced needs one label for each text, which {task} does not have")
        found += self._not_of_targets(task)
        if self.method != "finetune":
            found += self._not_of_method(task)
        return found

    def _not_of_targets(self, task: str) -> list[str]:
        """Options of other losses than the task's."""
        changed = [name for name in _OF_CLASSES if getattr(self, name) != _default(name)] if task in CLASSLESS else []
        found = [f"{name} is of tasks in which each text or token has one class; {CLASSLESS[task]}" for name in changed]
        if self.asymmetric and task != "multi-label":
            found.append(f"asymmetric is of task multi-label, and this task is {task}")
        if self.slot_weight != 1 and task != "joint":
            found.append(f"slot_weight is of task joint, and this task is {task}")
        return found

    def not_of_variant(self, variant: str | None) -> list[str]:
        """Options of losses of single tokens, which heads that learn from whole texts do not have."""
        changed = [name for name in _OF_CLASSES if getattr(self, name) != _default(name)] if variant in WHOLE_TEXTS else []
        return [f"{name} is of losses of single tokens, and variant {variant} learns from whole texts" for name in changed]

    def _not_of_method(self, task: str) -> list[str]:
        """What only ``finetune`` can have."""
        names = (*(name for name in OPTIONS if name not in ("method", "device")), "class_weights")
        changed = [name for name in names if getattr(self, name) != _default(name)]
        found = [f"method: {self.method} has no {name}, which is of method finetune" for name in changed]
        if task != "seq-cls":
            found.append(f"method: {self.method} is of task seq-cls, and this task is {task}: leave method out to fine-tune")
        return found

    def decisive(self) -> dict[str, Any]:
        """What decides the weights. Options that are off do not count: old runs and records stay what they were."""
        values = self.model_dump(mode="json")
        return {name: value for name, value in values.items() if name not in OPTIONS or value != _default(name)}


def _default(name: str) -> Any:
    return TrainSettings.model_fields[name].default


_OF_CLASSES = ("class_weights", "label_smoothing", "focal", "r_drop")
OPTIONS = (
    "method",
    "r_drop",
    "focal",
    "asymmetric",
    "slot_weight",
    "adversarial",
    "adversarial_epsilon",
    "adversarial_steps",
    "average",
    "sampling",
    "backoff",
    "graphs",
    "device",
)
