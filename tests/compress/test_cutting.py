"""Fewer layers, heads and units: the same function as with the parts silenced, chosen in the order of brute force."""

from pathlib import Path

import numpy as np
import pytest
import torch

import nlphub as hub
from nlphub.checkpoints import huggingface
from nlphub.compress.cutting import keep_heads, keep_inner, keep_layers, owned, spread_layers
from nlphub.compress.importance import Sample, choose_layers, measure
from nlphub.compress.shrink import Shape, Words, shrink
from nlphub.errors import InputError
from nlphub.nn.config import EncoderConfig
from nlphub.nn.dense import dense_encode
from nlphub.nn.encoder import Encoder


def silenced(encoder: Encoder, *, heads: list[tuple[int, int]] = (), units: list[tuple[int, int]] = ()) -> Encoder:
    """The slow twin of cutting: what is not wanted gives nothing."""
    twin, size = owned(encoder), encoder.config.head_size
    with torch.no_grad():
        for layer, head in heads:
            twin.blocks[layer].out.weight[:, head * size : (head + 1) * size] = 0.0
        for layer, unit in units:
            twin.blocks[layer].down.weight[:, unit] = 0.0
    return twin


def test_cut_heads_and_units_are_silenced_ones(module: hub.Module, batch) -> None:
    encoder, packed = module.encoder, batch([5, 5, 3, 8])
    cut = keep_inner(keep_heads(encoder, [[0, 3], [1, 2], [2, 3]]), [list(range(7, 20))] * 3)
    gone = [(layer, unit) for layer in range(3) for unit in range(48) if not 7 <= unit < 20]
    twin = silenced(encoder, heads=[(0, 1), (0, 2), (1, 0), (1, 3), (2, 0), (2, 1)], units=gone)
    for rows in ("all", "cls"):
        torch.testing.assert_close(cut(packed, rows=rows), twin(packed, rows=rows), atol=1e-5, rtol=1e-5)
    assert (cut.config.heads, cut.config.head_width, cut.config.inner) == (2, 8, 13)
    assert sum(p.numel() for p in cut.parameters()) < sum(p.numel() for p in encoder.parameters())


def test_the_padded_twin_and_training_take_the_new_shape(module: hub.Module, batch) -> None:
    cut = keep_heads(module.encoder, [[0, 2, 3]] * 3)
    packed = batch([4, 4])
    ids = packed.ids.view(2, 4)
    dense = dense_encode(cut, ids, torch.ones_like(ids), packed.types.view(2, 4))
    torch.testing.assert_close(dense.reshape(8, -1), cut(packed), atol=1e-5, rtol=1e-5)
    from nlphub.kernels import Noise

    cut(packed, noise=Noise(3)).sum().backward()
    assert all(parameter.grad is not None for parameter in cut.blocks.parameters())


def test_kept_layers_are_those_layers(module: hub.Module, batch) -> None:
    packed, encoder = batch([6, 2]), module.encoder
    assert torch.equal(keep_layers(encoder, [0, 1, 2])(packed), encoder(packed))
    cut = keep_layers(encoder, [2])
    assert cut.config.layers == 1
    assert torch.equal(cut.blocks[0].qkv.weight, encoder.blocks[2].qkv.weight)
    assert [spread_layers(6, count) for count in (1, 2, 3, 6)] == [(5,), (0, 5), (0, 2, 5), (0, 1, 2, 3, 4, 5)]


def test_dead_heads_and_units_are_worth_nothing_and_the_order_is_that_of_ablation(module: hub.Module, examples: hub.Examples) -> None:
    encoder, sample = module.encoder, Sample.of(module, examples)
    with torch.no_grad():
        encoder.blocks[1].out.weight[:, 8:16] = 0.0  # head 1 of layer 1
        encoder.blocks[0].down.weight[:, 5] = 0.0
        encoder.blocks[0].out.weight.mul_(torch.repeat_interleave(torch.tensor([1.0, 0.05, 0.4, 0.001]), 8))
    found = measure(encoder, sample)
    assert found.heads[1, 1] == 0.0
    assert found.inner[0, 5] == 0.0
    assert 1 not in found.best_heads(3)[1]
    without = [ablated(sample, encoder, silenced(encoder, heads=[(0, head)])) for head in range(4)]
    assert np.argsort(found.heads[0]).tolist() == np.argsort(without).tolist()
    units = [ablated(sample, encoder, silenced(encoder, units=[(0, unit)])) for unit in range(0, 48, 4)]
    ranks = [np.argsort(np.argsort(values)) for values in (found.inner[0, ::4], np.array(units))]
    assert np.corrcoef(*ranks)[0, 1] > 0.9


def test_importance_is_the_derivative_by_the_part_of_each_example(module: hub.Module, examples: hub.Examples) -> None:
    encoder, sample, step = module.encoder.double(), Sample.of(module, examples), 0.01
    module.head.double()
    sample = Sample(module.task_head, sample.encoded, sample.targets)
    found = measure(encoder, sample)
    changes = []
    for sign in (1, -1):
        twin = owned(encoder)
        with torch.no_grad():
            twin.blocks[2].out.weight[:, 8:16] *= 1 + sign * step
        changes.append(each_loss(sample, twin))
    slope = (changes[0] - changes[1]) / (2 * step)
    assert found.heads[2, 1] == pytest.approx(np.abs(slope).mean(), rel=0.01)


def test_layers_are_left_out_by_the_loss_without_them(module: hub.Module, examples: hub.Examples) -> None:
    sample = Sample.of(module, examples)
    kept = choose_layers(module.encoder, sample, 2)
    losses = {out: sample.loss(keep_layers(module.encoder, [layer for layer in range(3) if layer != out])) for out in range(3)}
    assert set(range(3)) - set(kept) == {min(losses, key=losses.__getitem__)}


def test_a_smaller_module_loads_learns_exports_and_answers(module: hub.Module, examples: hub.Examples, tmp_path: Path) -> None:
    made = shrink(module, Shape(layers=2, heads=2, inner=24), words=Words(tuple(examples.texts)), examples=examples)
    config = made.module.encoder.config
    assert (config.layers, config.heads, config.head_size, config.inner) == (2, 2, 8, 24)
    hub.Trainer(made.module, settings=hub.TrainSettings(epochs=6, learning_rate=3e-3), progress=False).train(examples)
    made.module.save(tmp_path / "small")
    again = hub.Module(directory=tmp_path / "small")
    assert np.array_equal(again.logits(examples.texts), made.module.logits(examples.texts))
    again.export(tmp_path / "dist")
    predictor = hub.Predictor(tmp_path / "dist")
    assert [answer.label for answer in predictor(examples.texts)] == [answer.label for answer in again.predict(examples.texts)]
    assert np.mean([answer.label == label for answer, label in zip(again.predict(examples.texts), examples.labels, strict=True)]) > 0.6


def test_other_libraries_see_pruned_heads_as_zeros(module: hub.Module, examples: hub.Examples, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    small = shrink(module, Shape(heads=1), examples=examples).module
    small.export(tmp_path / "theirs", form="transformers")
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "theirs").eval()
    text = examples.texts[0]
    with torch.inference_mode():
        logits = theirs(torch.tensor(small.tokenizer.encode([text]).lists())).logits.numpy()
    np.testing.assert_allclose(logits, small.logits([text]), atol=1e-5)
    assert huggingface.load_folder(tmp_path / "theirs").encoder.config.heads == 4
    with pytest.raises(InputError, match="do not fill"):
        EncoderConfig(vocab=9, layers=1, width=10, heads=2, inner=4, head_width=4).whole()


def test_numbers_of_heads_are_checked_and_written_only_where_they_say_something() -> None:
    plain = EncoderConfig(vocab=9, layers=1, width=8, heads=2, inner=4)
    assert "head_width" not in plain.to_dict()
    pruned = EncoderConfig(vocab=9, layers=1, width=8, heads=3, inner=4, head_width=2)
    assert EncoderConfig.from_dict(pruned.to_dict()) == pruned
    assert (pruned.mixed, pruned.head_size, plain.mixed) == (6, 2, 8)
    for wrong in (-1, True, "4", 1 << 20):
        with pytest.raises(InputError, match="head_width="):
            EncoderConfig(vocab=9, layers=1, width=8, heads=2, inner=4, head_width=wrong)


def test_what_cannot_be_is_refused_with_all_reasons(module: hub.Module) -> None:
    with pytest.raises(InputError) as refused:
        shrink(module, Shape(layers=7, heads=0, inner=20), words=Words(()))
    assert len(refused.value.problems) == 4
    assert "layers=7: this module has 3" in str(refused.value)
    assert "inner=20: which ones matter is measured on examples" in str(refused.value)
    with pytest.raises(InputError, match="nothing is to become smaller"):
        shrink(module)


def each_loss(sample: Sample, encoder: Encoder) -> np.ndarray:
    with torch.inference_mode():
        return sample.losses(encoder, np.arange(len(sample.encoded)))[1].double().numpy()


def ablated(sample: Sample, encoder: Encoder, twin: Encoder) -> float:
    """How much the loss of an example changes without a part, the mean of the magnitudes."""
    return float(np.abs(each_loss(sample, twin) - each_loss(sample, encoder)).mean())
