"""ALBERT and ELECTRA: answers of transformers' own heads, training, export, and what is refused."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import nlphub as hub
from nlphub.checkpoints.convert import convert
from nlphub.checkpoints.huggingface import load_folder, save_folder
from nlphub.checkpoints.relatives import RELATIVES, name_in, name_out
from nlphub.compress.shrink import Shape, shrink
from nlphub.data.batching import pack
from nlphub.errors import InputError, TrainingError, WeightsError
from nlphub.kernels import Noise
from nlphub.nn.dense import dense_encode
from nlphub.nn.encoder import Encoder, EncoderConfig, to_tensors
from nlphub.nn.initialise import initialise
from nlphub.training.distillation.taps import watched
from nlphub.training.pretraining.loop import _first_layers
from nlphub.training.pretraining.start import start_from_counts

FAMILIES = ("Albert", "Electra")


def neighbour(name: str) -> ModuleType:
    """Another file of tests, for its small checkpoints."""
    spec = importlib.util.spec_from_file_location(f"of_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CONVERT = neighbour("test_convert")
TEXTS, hidden, inputs, made = CONVERT.TEXTS, CONVERT.hidden, CONVERT.inputs, CONVERT.made


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["ForSequenceClassification", "ForTokenClassification", "ForMaskedLM"])
def test_heads_answer_as_theirs_do(tmp_path: Path, family: str, kind: str) -> None:
    model = made(tmp_path / "theirs", family, kind)
    convert(tmp_path / "theirs", to="native", out=tmp_path / "ours")
    module = hub.Module(directory=tmp_path / "ours", task="mlm" if kind == "ForMaskedLM" else None)
    given = inputs(module.tokenizer)
    with torch.inference_mode():
        expected = model(**given).logits
        rows = hidden(module, given)
        found = module.task_head(rows[:, 0] if kind == "ForSequenceClassification" else rows)
    if kind == "ForTokenClassification":
        expected = expected[:, :, [0, 2, 1, 3, 4]]  # in the order of our tags
    seen = slice(None) if kind == "ForSequenceClassification" else given["attention_mask"].bool()
    torch.testing.assert_close(found[seen], expected[seen], atol=1e-5, rtol=1e-5)
    assert module.trained


@pytest.mark.parametrize("family", FAMILIES)
def test_an_exported_graph_answers_as_the_module(tmp_path: Path, family: str) -> None:
    made(tmp_path / "theirs", family, "ForSequenceClassification")
    convert(tmp_path / "theirs", to="native", out=tmp_path / "ours")
    module = hub.Module(directory=tmp_path / "ours")
    module.export(tmp_path / "onnx")
    found, expected = hub.Predictor(tmp_path / "onnx")(TEXTS[:2]), module.predict(TEXTS[:2])
    assert [one.label for one in found] == [one.label for one in expected]
    np.testing.assert_allclose([one.score for one in found], [one.score for one in expected], atol=1e-5)
    facts = json.loads((tmp_path / "onnx" / "config.json").read_text("utf-8"))
    assert (facts["model_type"], facts["embedding_size"]) == (family.lower(), 16)


@pytest.mark.parametrize("changes", [{"shared": True, "embedding": 8}, {"embedding": 8}, {"shared": True}], ids=str)
def test_packed_rows_are_the_padded_twin_and_every_weight_learns(batch: Any, changes: dict[str, Any]) -> None:
    encoder = Encoder(EncoderConfig(vocab=50, layers=3, width=24, heads=3, inner=40, positions=64, **changes))
    initialise(encoder, 1)
    packed = batch([5, 3, 9])
    rows = encoder(packed)
    for number, length in enumerate((5, 3, 9)):
        first = [0, 5, 8][number]
        ids, types = packed.ids[first : first + length][None], packed.types[first : first + length][None]
        torch.testing.assert_close(
            dense_encode(encoder, ids, torch.ones_like(ids), types)[0], rows[first : first + length], atol=1e-5, rtol=1e-4
        )
    torch.testing.assert_close(encoder(packed, rows="cls"), rows[packed.cls_rows], atol=1e-6, rtol=1e-5)
    (encoder(packed, noise=Noise(1)) ** 2).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in encoder.parameters())
    assert EncoderConfig.from_dict(encoder.config.to_dict()) == encoder.config


def test_shared_layers_are_stored_once_and_drop_otherwise_each_time(batch: Any) -> None:
    config = EncoderConfig(vocab=50, layers=4, width=24, heads=3, inner=40, positions=64, shared=True)
    encoder = Encoder(config)
    initialise(encoder, 1)
    assert {name.split(".")[1] for name in encoder.state_dict() if name.startswith("blocks.")} == {"0"}
    packed, seen = batch([5, 3]), []
    handle = encoder.blocks[0].register_forward_hook(lambda block, given, out: seen.append(out))
    encoder(packed, noise=Noise(1))
    handle.remove()
    assert len(seen) == 4
    block, layout = encoder.passes[0], None
    from nlphub.kernels import Draws, Layout

    layout, draws = Layout.of(packed), Draws.of(Noise(1), packed)
    with torch.no_grad():
        rows = encoder.embeddings(packed)
        assert not torch.equal(block(rows, layout, draws=draws), block(rows, layout, draws=draws, turn=1))
        assert torch.equal(block(rows, layout), block(rows, layout, turn=1))  # without dropout there is no difference


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fine_tuned_one_is_saved_opened_and_leaves_again(tmp_path: Path, family: str) -> None:
    made(tmp_path / "theirs", family)
    convert(tmp_path / "theirs", to="native", out=tmp_path / "ours")
    module = hub.Module(directory=tmp_path / "ours", task="seq-cls", labels=["退货", "物流"])
    packed = to_tensors(pack(module.tokenize(TEXTS[:2]), np.arange(2)))
    loss = module.task_head.loss(module(packed, noise=Noise(1)), torch.tensor([0, 1])).mean()
    loss.backward()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter -= 0.01 * parameter.grad if parameter.grad is not None else 0.0
    module.save(tmp_path / "saved")
    again = hub.Module(directory=tmp_path / "saved")
    np.testing.assert_array_equal(again.logits(TEXTS[:2]), module.logits(TEXTS[:2]))
    convert(tmp_path / "saved", to="transformers", out=tmp_path / "back")
    import transformers

    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "back").eval()
    with torch.inference_mode():
        found = theirs(**{name: values[:2] for name, values in inputs(module.tokenizer).items()}).logits
    np.testing.assert_allclose(found.numpy(), module.logits(TEXTS[:2]), atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_they_cannot_become_is_refused(tmp_path: Path, family: str) -> None:
    made(tmp_path / "t", family)
    for arguments, complaint in (
        ({"to": "paddle"}, "is not written for PaddleNLP"), ({"to": "transformers", "family": "bert"}, "cannot become bert"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=complaint):
            convert(tmp_path / "t", out=tmp_path / "out", **arguments)
    with pytest.raises(WeightsError, match="nlphub convert t --to native"):
        load_folder(tmp_path / "t")
    convert(tmp_path / "t", to="native", out=tmp_path / "ours")
    module = hub.Module(directory=tmp_path / "ours")
    with pytest.raises(InputError, match="nlphub convert --to transformers"):
        save_folder(tmp_path / "hf", encoder=module.encoder, tokenizer=module.tokenizer)
    if family == "Albert":
        with pytest.raises(InputError, match="share their weights"):
            shrink(module, Shape(layers=1))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"num_hidden_groups": 2}, "several groups of layers"),
        ({"inner_group_num": 2}, "several groups of layers"),
        ({"hidden_act": "gelu_new"}, "activation='gelu_new' must be one of"),
        ({"embedding_size": -1}, "embedding=-1"),
        ({"embedding_size": "16"}, "embedding='16'"),
        ({"embedding_size": 15}, "of another shape"),
    ],
)
def test_configs_that_do_not_fit_are_refused(tmp_path: Path, changes: dict[str, Any], complaint: str) -> None:
    made(tmp_path / "t", "Albert")
    path = tmp_path / "t" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")
    with pytest.raises(WeightsError, match=complaint):
        convert(tmp_path / "t", to="native", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unknown_key_of_theirs_is_an_error(tmp_path: Path) -> None:
    made(tmp_path / "t", "Electra")
    path = tmp_path / "t" / "model.safetensors"
    save_file(load_file(path) | {"encoder.layer.0.crossattention.self.key.weight": torch.zeros(2)}, path, {"format": "pt"})
    with pytest.raises(WeightsError, match="crossattention"):
        convert(tmp_path / "t", to="native", out=tmp_path / "out")


@pytest.mark.parametrize("changes", [{"shared": True}, {"embedding": 8}], ids=str)
def test_what_training_cannot_do_with_them_is_said(changes: dict[str, Any]) -> None:
    encoder = Encoder(EncoderConfig(vocab=50, layers=3, width=24, heads=3, inner=40, positions=64, **changes))
    with pytest.raises(InputError, match="of one width whose layers have weights of their own"):
        start_from_counts(encoder, Any, seed=1)
    if encoder.config.shared:
        with pytest.raises(TrainingError, match=r"train\.shallow"), _first_layers(encoder, 1):
            pass
        with pytest.raises(InputError, match="share their weights"), watched(encoder, layers=[1]):
            pass


def test_names_go_there_and_back() -> None:
    assert RELATIVES == ("albert", "electra")
    for family in RELATIVES:
        for name in ("embeddings.project.weight", "embeddings.LayerNorm.bias", "encoder.layer.0.intermediate.dense.weight"):
            theirs = name_out(name, family, task=None, prefixed=True)
            assert theirs != name
            assert name_in(theirs, family) == name
