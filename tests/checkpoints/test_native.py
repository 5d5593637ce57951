"""A saved module comes back bitwise; everything that does not fit is refused and named."""

import json
import pickle
import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import nlphub
from nlphub.checkpoints import native
from nlphub.errors import WeightsError
from nlphub.nn.encoder import Encoder, EncoderConfig
from nlphub.nn.heads import MaskedLMHead, SequenceHead
from nlphub.nn.initialise import initialise

CONFIG = EncoderConfig(vocab=50, layers=2, width=24, heads=3, inner=40, positions=64)


class Characters:
    """Stands for a tokenizer: what a checkpoint asks of one."""

    digest = "ab" * 32

    def save(self, folder: Path) -> None:
        (folder / "vocab.txt").write_text("[PAD]\n", encoding="utf-8")


def network(seed: int = 1, *, labels: int = 4) -> tuple[Encoder, SequenceHead]:
    encoder, head = Encoder(CONFIG), SequenceHead(24, labels)
    initialise(encoder, seed)
    initialise(head, seed)
    return encoder, head


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    encoder, head = network()
    facts = {"architecture": "ernie_tiny", "labels": list("abcd"), "tokenizer": {"name": "zh_char"}, "initial_seed": 3, "encoder": {}}
    native.save_checkpoint(folder, encoder=encoder, head=head, tokenizer=Characters(), config=facts)
    return folder


def test_a_saved_module_comes_back_bitwise(saved):
    encoder, head = network(seed=2)
    first = native.weights_digest(*network())
    assert native.weights_digest(encoder, head) != first
    native.load_weights(saved, encoder=encoder, head=head)
    assert native.weights_digest(encoder, head) == first
    native.load_weights(saved / "model.safetensors", encoder=encoder, head=head)
    assert native.weights_digest(encoder, head) == first


def test_the_config_states_what_was_saved(saved):
    config = native.load_config(saved)
    assert EncoderConfig.from_dict(config["encoder"]) == CONFIG
    assert config["task"] == "seq-cls"
    assert config["labels"] == list("abcd")
    assert config["nlphub"] == nlphub.__version__
    assert config["tokenizer"] == {"name": "zh_char", "digest": "ab" * 32}
    assert "initial_seed" not in config  # lost weights must not be replaced by random ones
    assert (saved / "vocab.txt").is_file()
    assert sorted(load_file(saved / "model.safetensors"))[-4:] == [
        "heads.seq-cls.classifier.bias",
        "heads.seq-cls.classifier.weight",
        "heads.seq-cls.pool.bias",
        "heads.seq-cls.pool.weight",
    ]


def test_saved_files_are_as_readable_as_any_other(saved):
    (saved / "other").touch()
    modes = {stat.S_IMODE((saved / name).stat().st_mode) for name in ("model.safetensors", "config.json", "other")}
    assert len(modes) == 1


def test_the_digest_sees_names_shapes_and_every_bit():
    encoder, head = network()
    first = native.weights_digest(encoder, head)
    assert native.weights_digest(encoder) != first
    with torch.no_grad():
        encoder.blocks[1].up.bias[3] = torch.nextafter(encoder.blocks[1].up.bias[3], torch.tensor(1.0))
    assert native.weights_digest(encoder, head) != first


def test_weights_stored_in_half_precision_are_read(saved):
    path = saved / "model.safetensors"
    save_file({name: tensor.half() for name, tensor in load_file(path).items()}, path)
    encoder, head = network(seed=2)
    native.load_weights(saved, encoder=encoder, head=head)
    assert encoder.embeddings.word.weight.dtype == torch.float32
    torch.testing.assert_close(encoder.embeddings.word.weight, network()[0].embeddings.word.weight, atol=1e-4, rtol=1e-3)


def test_another_task_takes_the_encoder_only_when_allowed(saved):
    encoder, other = Encoder(CONFIG), MaskedLMHead(24, 50)
    with pytest.raises(WeightsError, match=r"not expected: heads\.seq-cls\.classifier\.bias"):
        native.load_weights(saved, encoder=encoder)
    native.load_weights(saved, encoder=encoder, allow_other_heads=True)
    assert native.weights_digest(encoder) == native.weights_digest(network()[0])
    with pytest.raises(WeightsError, match=r"missing: heads\.mlm\.bias"):
        native.load_weights(saved, encoder=encoder, head=other, allow_other_heads=True)


def test_missing_extra_and_misshapen_tensors_are_all_named_and_nothing_is_loaded(saved):
    path = saved / "model.safetensors"
    tensors = load_file(path)
    del tensors["encoder.blocks.0.out.bias"]
    tensors["encoder.blocks.9.out.bias"] = torch.zeros(3)
    tensors["heads.seq-cls.classifier.bias"] = torch.zeros(7)
    save_file(tensors, path)
    encoder, head = network(seed=2)
    before = native.weights_digest(encoder, head)
    with pytest.raises(WeightsError) as caught:
        native.load_weights(saved, encoder=encoder, head=head)
    text = str(caught.value)
    assert "missing: encoder.blocks.0.out.bias" in text
    assert "not expected: encoder.blocks.9.out.bias" in text
    assert "heads.seq-cls.classifier.bias (7,) instead of (4,)" in text
    assert native.weights_digest(encoder, head) == before


def test_a_long_list_of_names_is_cut(saved):
    encoder = Encoder(EncoderConfig(vocab=50, layers=4, width=24, heads=3, inner=40, positions=64))
    with pytest.raises(WeightsError, match=r"missing: .* and 16 more"):
        native.load_weights(saved, encoder=encoder, allow_other_heads=True)


def test_values_that_are_not_finite_are_refused(saved):
    path = saved / "model.safetensors"
    tensors = load_file(path)
    tensors["encoder.blocks.0.up.weight"][0, 0] = torch.inf
    save_file(tensors, path)
    with pytest.raises(WeightsError, match=r"not finite in encoder\.blocks\.0\.up\.weight"):
        native.load_weights(saved, encoder=network()[0], head=network()[1])


def test_weights_of_baidus_ernie_tiny_are_told_apart(saved):
    save_file({"ernie.embeddings.word_embeddings.weight": torch.zeros(50006, 1024, dtype=torch.float16)}, saved / "model.safetensors")
    with pytest.raises(WeightsError, match="ernie_tiny_baidu"):
        native.load_weights(saved, encoder=Encoder(CONFIG))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("bert.encoder.layer.0.attention.self.query.weight", "nlphub convert FOLDER"),
        ("ernie.encoder.layers.0.linear1.weight", "PaddlePaddle"),
    ],
)
def test_names_of_other_libraries_are_recognised(saved, name, hint):
    save_file({name: torch.zeros(2)}, saved / "model.safetensors")
    with pytest.raises(WeightsError, match=hint):
        native.load_weights(saved, encoder=Encoder(CONFIG))


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("a pickle was loaded",))


@pytest.mark.parametrize("name", ["model_state.pdparams", "pytorch_model.bin", "model.pt", "weights.ckpt"])
def test_formats_that_can_run_code_are_never_opened(tmp_path, name):
    folder = tmp_path / "foreign"
    folder.mkdir()
    (folder / name).write_bytes(pickle.dumps(Trap()))
    expected = "ernie_tiny_baidu" if name.endswith(".pdparams") else "safetensors"
    for call in (
        lambda: native.load_config(folder),
        lambda: native.has_weights(folder),
        lambda: native.load_weights(folder, encoder=Encoder(CONFIG)),
        lambda: native.load_weights(folder / name, encoder=Encoder(CONFIG)),
    ):
        with pytest.raises(WeightsError, match=expected):
            call()


def test_a_pickle_under_the_name_of_safetensors_is_refused(saved):
    (saved / "model.safetensors").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(WeightsError, match="no safetensors file"):
        native.load_weights(saved, encoder=Encoder(CONFIG))


def test_lost_weights_are_an_error_and_made_ones_are_not(saved):
    assert native.has_weights(saved)
    (saved / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="incomplete"):
        native.has_weights(saved)
    config = json.loads((saved / "config.json").read_text(encoding="utf-8"))
    (saved / "config.json").write_text(json.dumps({**config, "initial_seed": 4}), encoding="utf-8")
    assert not native.has_weights(saved)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "JSON table. Found: list"),
        ("{}", "'architecture' and 'encoder'. Found: an empty object"),
        ('{"model_type": "bert"}', "Hugging Face config"),
        (" " * (1 << 20) + "{}", "larger than"),
    ],
    ids=["torn", "deep", "list", "empty", "hugging face", "huge"],
)
def test_a_config_that_is_none_of_ours_is_refused(tmp_path, content, message):
    (tmp_path / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(WeightsError, match=message):
        native.load_config(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "../x"}, "no name of a module"),
        ({"architecture": 3}, "no name of a module"),
        ({"encoder": []}, "encoder: expected a table"),
        ({"encoder": {"vocab": 1}}, "encoder: 'layers' is missing"),
        ({"encoder": {**CONFIG.to_dict(), "vocab": 10**12}}, "vocab=1000000000000 must be"),
        ({"encoder": {**CONFIG.to_dict(), "activation": ["gelu"]}}, r"activation=\['gelu'\] must be"),
        ({"encoder": {**CONFIG.to_dict(), "width": None, "eps": "x"}}, r"width=None must be(.|\n)*eps='x' must be"),
        ({"labels": "ab"}, "labels: expected"),
        ({"labels": ["a", 1]}, "labels: expected"),
        ({"tokenizer": 1}, "tokenizer: expected"),
        ({"tokenizer": {"digest": 1}}, "tokenizer: expected"),
        ({"task": 1, "max_length": "9"}, r"task: expected str(.|\n)*max_length: expected int"),
        ({"initial_seed": True}, "initial_seed: expected int"),
    ],
    ids=str,
)
def test_wrong_values_of_a_config_are_named(saved, change, message):
    config = json.loads((saved / "config.json").read_text(encoding="utf-8"))
    (saved / "config.json").write_text(json.dumps({**config, **change}), encoding="utf-8")
    with pytest.raises(WeightsError, match=message):
        native.load_config(saved)


def test_a_folder_without_a_config_is_no_module(tmp_path):
    with pytest.raises(WeightsError, match=r"has no config\.json"):
        native.load_config(tmp_path)


def test_a_tokenizer_other_than_the_weights_own_is_refused(saved):
    native.check_tokenizer(native.load_config(saved), Characters())
    other = Characters()
    other.digest = "cd" * 32
    with pytest.raises(WeightsError, match=r"abababababab.*cdcdcdcdcdcd"):
        native.check_tokenizer(native.load_config(saved), other)
