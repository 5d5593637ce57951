"""Module folders without weights of their own, and the numbers of official checkpoints."""

import ast
import json
from pathlib import Path

import pytest
import torch

from nlphub.checkpoints.numbers import check_agreement, official
from nlphub.errors import InputError, UnknownNameError
from nlphub.hub import zoo
from nlphub.nn.encoder import Encoder, EncoderConfig
from nlphub.nn.heads import Head

ROOT = Path(__file__).parent.parent
NUMBERS = json.loads((ROOT / "modules" / "ernie" / "numbers.json").read_text("utf-8"))
PARAMETERS = {  # millions, encoder and pooler, as PaddleNLP's own table has them
    "ernie_1_0_base": 99.9, "ernie_1_0_base_cw": 116.8, "ernie_1_0_large_cw": 272.0, "ernie_tiny_baidu": 90.7, "ernie_2_0_base_zh": 99.9,
    "ernie_2_0_large_zh": 317.0, "ernie_2_0_base_en": 109.5, "ernie_2_0_large_en": 335.1, "ernie_3_0_xbase": 296.1, "ernie_3_0_base": 117.9,
    "ernie_3_0_medium": 75.4, "ernie_3_0_mini": 26.9, "ernie_3_0_micro": 23.4, "ernie_3_0_nano": 17.9, "ernie_3_0_tiny_pico_v2": 6.0,
    "utc_large": 271.9,
}  # fmt: skip


@pytest.mark.parametrize("name", ["albert", "bert", "electra", "ernie"])
def test_a_folder_has_its_three_names_and_a_card(name):
    parts, folder = zoo.load(name), ROOT / "modules" / name
    with torch.device("meta"):
        assert isinstance(parts.transformer(layers=1, width=24, heads=3), Encoder)
    assert {"seq-cls", "token-cls", "mlm"} <= parts.heads.keys()
    assert all(issubclass(head, Head) and head.task == task for task, head in parts.heads.items())
    assert (folder / "README.md").read_text("utf-8").startswith(f"# {name}\n")
    for path in folder.glob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), path
        assert path.read_text("utf-8").count("\n") <= 60, path


@pytest.mark.parametrize("name", PARAMETERS)
def test_numbers_give_the_parameters_that_are_published(name):
    config = EncoderConfig(**official(name).numbers)
    with torch.device("meta"):
        encoder = Encoder(config)
    count = sum(parameter.numel() for parameter in encoder.parameters()) + config.width**2 + config.width
    if name == "ernie_1_0_base_cw":
        count -= config.task_types * config.width  # published without its task types
    assert round(count / 1e6, 1) == pytest.approx(PARAMETERS[name], abs=0.11)


def test_every_name_and_alias_is_one_checkpoint():
    seen: dict[str, str] = {}
    for name, entry in NUMBERS.items():
        EncoderConfig(**entry["numbers"])
        for known in (name, *entry["aliases"]):
            assert official(known).name == name
            assert seen.setdefault(known, name) == name
    assert official("ernie-3.0-nano-zh").facts["hidden_size"] == 312
    with pytest.raises(UnknownNameError, match="Did you mean 'ernie_3_0_nano'"):
        official("ernie_3_0_nanno")


def test_a_config_that_contradicts_the_numbers_is_an_error(tmp_path):
    facts = official("ernie_3_0_nano").facts
    check_agreement(tmp_path, facts, facts)
    with pytest.raises(InputError, match="hidden_size is 384 there, and 312 by --numbers"):
        check_agreement(tmp_path, {**facts, "hidden_size": 384}, facts)
