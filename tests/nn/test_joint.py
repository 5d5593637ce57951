"""The head of intents and slots: its parts are the usual heads, its loss is their sum, packed and padded alike."""

import numpy as np
import pytest
import torch

from nlphub.nn.forms import head_class
from nlphub.nn.heads import SequenceHead
from nlphub.nn.initialise import initialise
from nlphub.nn.joint import JointHead
from nlphub.tasks.base import IGNORED

NAMES = ("intent:a", "intent:b", "intent:O", "O", "B-x", "I-x", "B-y", "I-y")
LENGTHS = [5, 2, 9]


@pytest.fixture(params=["linear", "crf"])
def head(request: pytest.FixtureRequest) -> JointHead:
    made = head_class({"joint": JointHead}, "joint", request.param).build(16, NAMES, dropout=0.0)
    assert isinstance(made, JointHead)
    initialise(made, seed=1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)) * 0.05)
    return made


def targets(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    source = np.random.default_rng(seed)
    tags = [np.concatenate([[IGNORED], source.choice([0, 1, 3], length - 2), [IGNORED]]) for length in LENGTHS]
    return torch.tensor([2, 0, 1]), torch.from_numpy(np.concatenate(tags).astype(np.int64))


def test_outputs_say_how_many_intents_there_are(head) -> None:
    assert (head.intents, head.intent.labels, head.slots.labels, head.labels) == (3, 3, 5, 8)


def test_intents_stand_on_the_rows_of_cls_and_tags_on_all_rows(head, batch) -> None:
    packed = batch(LENGTHS)
    hidden = torch.randn(16, 16, generator=torch.Generator().manual_seed(3))
    logits = head(hidden, packed)
    assert logits.shape == (16, 8)
    assert torch.equal(logits[packed.cls_rows, :3], head.intent(hidden[packed.cls_rows]))
    others = torch.ones(16, dtype=torch.bool)
    others[packed.cls_rows] = False
    assert not logits[others, :3].any()
    assert torch.equal(logits[:, 3:], head.slots(hidden))
    for part, expected in zip(head.parts(logits, packed), (logits[packed.cls_rows, :3], logits[:, 3:]), strict=True):
        assert torch.equal(part, expected)
    with pytest.raises(TypeError, match="packed batch"):
        head(hidden)


def test_padded_rows_give_the_two_outputs(head, batch) -> None:
    packed = batch(LENGTHS)
    hidden = torch.randn(16, 16, generator=torch.Generator().manual_seed(3))
    padded, mask = torch.zeros(3, 9, 16), torch.zeros(3, 9, dtype=torch.bool)
    for row, (start, length) in enumerate(zip(packed.starts.tolist(), LENGTHS, strict=True)):
        padded[row, :length], mask[row, :length] = hidden[start : start + length], True
    intents, tags = head.dense(padded, mask.long(), mask.long())
    expected = head.parts(head(hidden, packed), packed)
    assert torch.allclose(intents, expected[0], atol=1e-6)
    assert torch.allclose(tags[mask], expected[1], atol=1e-6)


@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_the_loss_is_that_of_the_intent_plus_the_mean_of_the_tags(head, batch, weight: float) -> None:
    packed, (intents, tags) = batch(LENGTHS), targets()
    logits = torch.randn(16, 8, generator=torch.Generator().manual_seed(4))
    losses = head.loss(logits, (intents, tags), packed=packed, slot_weight=weight).detach()
    assert losses.shape == (3,)
    for row, (start, length) in enumerate(zip(packed.starts.tolist(), LENGTHS, strict=True)):
        expected = torch.nn.functional.cross_entropy(logits[start, :3], intents[row])
        own, told = logits[start : start + length, 3:], tags[start : start + length]
        if length > 2:  # an empty text has no tags
            alone = head.slots.loss(own, told).detach()
            expected = expected + weight * alone.sum() / (length - 2)
        assert losses[row] == pytest.approx(float(expected), abs=1e-5)


def test_gradients_reach_both_parts_and_are_finite(head, batch) -> None:
    packed = batch(LENGTHS)
    hidden = torch.randn(16, 16, generator=torch.Generator().manual_seed(3), requires_grad=True)
    head.loss(head(hidden, packed), targets(), packed=packed).sum().backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all()
    assert hidden.grad is not None


def test_options_of_other_losses_are_refused(head, batch) -> None:
    with pytest.raises(TypeError, match="label_smoothing"):
        head.loss(torch.zeros(16, 8), targets(), packed=batch(LENGTHS), label_smoothing=0.1)
    with pytest.raises(TypeError, match="packed batch"):
        head.loss(torch.zeros(16, 8), targets())


def test_dropout_is_changed_in_both_parts(head) -> None:
    head.set_dropout(0.7)
    assert {head.probability, head.intent.probability, head.slots.probability} == {0.7}
    assert isinstance(head.intent, SequenceHead)
