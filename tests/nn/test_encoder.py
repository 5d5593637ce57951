"""The packed encoder: exact shortcuts, its padded twin, dropout that does not depend on the packing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from nlphub import kernels
from nlphub.data.batching import Packed
from nlphub.errors import InputError
from nlphub.kernels import Noise, cpu, operators, reference
from nlphub.nn.dense import DenseModel, _block, dense_encode
from nlphub.nn.encoder import Encoder, EncoderConfig
from nlphub.nn.first_row import first_row
from nlphub.nn.heads import SequenceHead
from nlphub.nn.initialise import initialise

CONFIG = EncoderConfig(vocab=50, layers=3, width=24, heads=3, inner=40, positions=64)
RAGGED = [5, 5, 1, 9, 9, 9, 2, 31]
CONFIGS = [CONFIG, replace(CONFIG, task_types=3, task_id=2), replace(CONFIG, activation="relu", layers=1)]


def encoder(config: EncoderConfig = CONFIG, *, std: float = 6.0) -> Encoder:
    """With weights large enough for attention to be far from uniform."""
    made = Encoder(config)
    initialise(made, 5)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(std if parameter.ndim > 1 else 1.0).add_(0.01 if parameter.ndim == 1 else 0.0)
    return made


def padded(packed: Packed[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    lengths = packed.lengths.tolist()
    ids, mask, types = torch.full((len(lengths), max(lengths)), 3), torch.zeros(len(lengths), max(lengths)).long(), torch.ones(1).long()
    types = types.repeat(ids.shape)
    for row, (start, length) in enumerate(zip(packed.starts.tolist(), lengths, strict=True)):
        ids[row, :length], types[row, :length] = packed.ids[start : start + length], packed.types[start : start + length]
        mask[row, :length] = 1
    return ids, mask, types


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_the_cls_rows_alone_equal_those_of_all_rows(batch, config):
    packed, model = batch(RAGGED), encoder(config)
    noise = Noise(4)
    torch.testing.assert_close(model(packed, rows="cls"), model(packed)[packed.cls_rows], atol=2e-6, rtol=1e-5)
    with_noise = model(packed, rows="cls", noise=noise), model(packed, noise=noise)[packed.cls_rows]
    torch.testing.assert_close(*with_noise, atol=2e-6, rtol=1e-5)
    assert not torch.allclose(with_noise[0], model(packed, rows="cls"))


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_the_padded_twin_agrees(batch, config):
    packed, model = batch(RAGGED), encoder(config)
    ids, mask, types = padded(packed)
    torch.testing.assert_close(dense_encode(model, ids, mask, types)[mask.bool()], model(packed), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(dense_encode(model, ids, mask, types, rows="cls"), model(packed, rows="cls"), atol=1e-5, rtol=1e-5)


def test_the_padded_model_gives_the_same_logits(batch):
    packed, model, head = batch(RAGGED), encoder(), SequenceHead(24, 4)
    torch.testing.assert_close(DenseModel(model, head)(*padded(packed)), head(model(packed, rows="cls")), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rows", ["all", "cls"])
@pytest.mark.parametrize("fast", [cpu, operators], ids=["cpu", "operators"])
def test_gradients_agree_with_the_reference_kernels(batch, monkeypatch, fast, rows):
    packed, gradients = batch(RAGGED), []
    for route in (fast, reference):
        monkeypatch.setattr(kernels.dispatch, "on_cpu", lambda chosen=route: chosen)
        model = encoder()
        model(packed, rows=rows, noise=Noise(9)).square().mean().backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, found in gradients[0].items():
        torch.testing.assert_close(found, gradients[1][name], atol=1e-5, rtol=1e-4, msg=name)


def step(batch, parts: list[list[int]]) -> dict[str, Tensor]:
    """Gradients of one training step over examples 0 to 7 that is cut into ``parts``."""
    model, head = encoder(), SequenceHead(24, 4)
    initialise(head, 1)
    targets = torch.tensor([0, 1, 2, 3, 3, 2, 1, 0])
    for part in parts:
        packed = batch(RAGGED, rows=part)
        losses = head.loss(head(model(packed, rows="cls", noise=Noise(2)), packed, noise=Noise(2)), targets[part])
        (losses.sum() / 8).backward()
    return {name: parameter.grad for half in (model, head) for name, parameter in half.named_parameters()}


@pytest.mark.parametrize("parts", [[[7, 3, 0, 5, 1, 2, 6, 4]], [[0], [1, 2, 3], [7, 6, 5, 4]]], ids=str)
def test_batch_order_and_accumulation_do_not_change_a_training_step(batch, parts):
    expected = step(batch, [list(range(8))])
    for name, found in step(batch, parts).items():
        torch.testing.assert_close(found, expected[name], atol=1e-6, rtol=1e-4, msg=name)


def test_train_mode_alone_changes_nothing(batch):
    packed, model = batch(RAGGED), encoder()
    assert torch.equal(model.train()(packed), model.eval()(packed))


def test_biases_of_products_go_with_the_norm_where_our_kernels_add_them_and_hooks_see_the_same(batch, monkeypatch):
    packed, seen = batch(RAGGED), []
    for route, apart in ((cpu, False), (operators, True)):
        monkeypatch.setattr(kernels.dispatch, "on_cpu", lambda chosen=route: chosen)
        model, given = encoder(), []
        for block in model.blocks:
            for linear in (block.out, block.down):
                linear.register_forward_pre_hook(lambda _, inputs, given=given: given.append(inputs[0]))
                linear.register_forward_hook(
                    lambda linear, inputs, out, apart=apart: torch.testing.assert_close(
                        out, inputs[0] @ linear.weight.T + (0.0 if apart else linear.bias), atol=1e-5, rtol=1e-5
                    )
                )
        hidden = model(packed, rows="cls")
        seen.append((*given, hidden))
        assert len(given) == 2 * CONFIG.layers
    for one, other in zip(*seen, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_the_longest_sequence_is_as_long_as_the_positions(batch):
    assert encoder()(batch([64, 64])).shape == (128, 24)
    with pytest.raises(IndexError):
        encoder()(batch([65]))


def test_initial_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    first = encoder()
    torch.manual_seed(2)
    second = encoder()
    for (name, one), (_, two) in zip(first.named_parameters(), second.named_parameters(), strict=True):
        assert torch.equal(one, two), name
    initialise(first, 5)
    initialise(second, 6)
    assert not torch.equal(first.embeddings.word.weight, second.embeddings.word.weight)
    weights = torch.cat([parameter.flatten() for name, parameter in first.named_parameters() if parameter.ndim > 1])
    assert float(weights.detach().std()) == pytest.approx(0.02, rel=0.02)
    assert first.blocks[0].norm1.weight.eq(1).all()
    assert first.blocks[0].qkv.bias.eq(0).all()


def test_a_config_survives_its_dictionary():
    config = replace(CONFIG, task_types=3, task_id=1, activation="relu")
    assert EncoderConfig.from_dict(config.to_dict()) == config


def test_all_mistakes_of_a_config_are_reported_at_once():
    numbers = {"width": 25, "layers": 0, "activation": "tanh", "dropout": 1.0, "eps": 0, "task_types": 2, "task_id": 2, "heads": True}
    with pytest.raises(InputError) as caught:
        replace(CONFIG, **numbers)
    text = str(caught.value)
    for part in ("layers=0", "heads=True", "activation='tanh'", "dropout=1.0", "eps=0", "task_id=2"):
        assert part in text
    with pytest.raises(InputError, match="width=25 must be a multiple of heads=3"):
        replace(CONFIG, width=25)


def test_unknown_and_missing_numbers_of_a_config_are_named():
    numbers = {**CONFIG.to_dict(), "hidden": 3}
    del numbers["inner"]
    with pytest.raises(InputError) as caught:
        EncoderConfig.from_dict(numbers)
    assert "'hidden' is unknown" in str(caught.value)
    assert "'inner' is missing" in str(caught.value)


def test_packed_numpy_becomes_tensors_without_a_change(batch):
    packed = batch([2, 3])
    assert packed.positions.tolist() == [0, 1, 0, 1, 2]
    assert packed.lengths.device.type == "cpu"
    assert packed.ids.dtype == torch.int64
    assert np.array_equal(packed.cls_rows.numpy(), [0, 2])


def test_changed_dropout_acts_at_every_site(batch):
    packed, model = batch(RAGGED), encoder()
    model.set_dropout(0.0)
    assert torch.equal(model(packed, noise=Noise(1)), model(packed))
    model.set_dropout(0.5)
    assert (model.config.dropout, model.config.attention_dropout) == (0.5, 0.5)
    model.set_dropout(0.1)
    torch.testing.assert_close(model(packed, noise=Noise(1)), encoder()(packed, noise=Noise(1)), atol=0, rtol=0)


@pytest.mark.parametrize("size", [0, 4])
def test_the_first_row_of_a_layer_is_that_of_the_whole_layer(size: int) -> None:
    """What the exported graph computes instead of keys and values, beside the plain layer."""
    torch.manual_seed(0)
    model = Encoder(replace(CONFIG, layers=1, head_width=size)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.5)
    (block,) = model.blocks
    hidden, visible = torch.randn(3, 7, 24), torch.ones(3, 1, 1, 7, dtype=torch.bool)
    visible[1, ..., 2:] = visible[2, ..., 1:] = False
    torch.testing.assert_close(first_row(block, hidden, visible), _block(block, hidden, visible)[:, :1], atol=1e-5, rtol=1e-5)
