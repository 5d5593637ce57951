"""A hub of one's own: a fine-tuned run becomes a version that answers alike wherever it is installed, and versions never change."""

import json
import re
import shlex
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import nlphub
from nlphub import paths
from nlphub.calibration import Calibration, references_of
from nlphub.checkpoints import native
from nlphub.cli.app import app
from nlphub.errors import InputError, StoreError, UnknownNameError
from nlphub.hub import bundles, own, publishing, store
from nlphub.hub.registry import find_module, list_modules, load_registry
from nlphub.hub.serving import HubServer

TEXTS = ["我要退这双鞋", "快递到哪了", "转人工", "ＡＢＣ 不想要了", "", "货几时到"]
ROWS = [
    ("我要退这双鞋", "退货"),
    ("不想要了怎么退", "退货"),
    ("快递到哪了", "查物流"),
    ("货几时到", "查物流"),
    ("转人工", "人工"),
    ("叫客服来", "人工"),
]


@pytest.fixture(scope="module")
def run(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a fine-tuning leaves: ``best/`` with weights that were trained for a few steps, thresholds and references, and scores."""
    folder = tmp_path_factory.mktemp("runs") / "intent"
    module = nlphub.Module(directory=small_folder, task="seq-cls", labels=["退货", "查物流", "人工"])
    examples = nlphub.Examples.of(ROWS)
    nlphub.Trainer(module, settings=nlphub.TrainSettings(epochs=2, batch_size=3, learning_rate=1e-3)).train(examples)
    references = references_of(module.logits([text for text, _ in ROWS]))
    module.calibration = Calibration(
        temperature=1.7, confidence="neighbours", threshold=0.2, thresholds={"退货": 0.99}, references=references
    )
    module.config["base"] = {"name": "ernie_tiny", "version": "0.3.0", "licence": "Apache-2.0"}
    folder.mkdir()
    module.save(folder / "best")
    (folder / "report").mkdir()
    (folder / "report" / "metrics.json").write_text('{"judged_on": "dev", "accuracy": 0.8125, "support": 9, "confusion": {}}', "utf-8")
    (folder / "best" / "customers.jsonl").write_text('{"text": "secret"}')
    return folder


@pytest.fixture
def hub(run: Path, tmp_path: Path) -> Path:
    own.publish_module(run, "my_intent", version="1.0.0", to=tmp_path / "hub", aliases=["shop-intent"], notes="## Owner\n\nthe shop")
    return tmp_path / "hub"


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], HubServer]]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running: list[tuple[HubServer, threading.Thread]] = []

    def serve(folder: Path) -> HubServer:
        server = HubServer(folder, quiet=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        running.append((server, thread))
        return server

    yield serve
    for server, thread in running:
        server.shutdown()
        server.server_close()
        thread.join()


def forbid_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was touched")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)


def assert_answers_alike(one: Any, other: Any) -> None:
    assert np.array_equal(one.logits(TEXTS), other.logits(TEXTS))
    assert one.predict(TEXTS) == other.predict(TEXTS)
    assert one.labels == other.labels
    assert one.calibration == other.calibration
    assert np.array_equal(one.calibration.references, other.calibration.references)


def test_a_run_published_over_http_answers_alike_from_another_home(
    run: Path, hub: Path, serving: Callable[[Path], HubServer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NLPHUB_HOME", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("NLPHUB_REGISTRY", serving(hub).address)
    module = nlphub.Module(name="my_intent")
    assert_answers_alike(nlphub.Module(directory=run), module)
    assert module.config["base"] == {"name": "my_intent", "version": "1.0.0", "licence": "Apache-2.0"}
    assert store.verify(find_module("shop-intent")) == []
    forbid_the_network(monkeypatch)
    assert_answers_alike(module, nlphub.Module(name="my_intent"))  # a cache hit asks nobody, the registry's server neither
    monkeypatch.delenv("NLPHUB_REGISTRY")
    assert_answers_alike(module, nlphub.Module(name="my_intent", version="==1.0"))  # what is installed keeps its name


def test_the_same_through_a_bundle_without_any_network(run: Path, hub: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forbid_the_network(monkeypatch)
    monkeypatch.setenv("NLPHUB_REGISTRY", str(hub))
    bundles.write_bundle(tmp_path / "site.zip", [find_module("my_intent"), find_module("ernie_tiny")])
    monkeypatch.setenv("NLPHUB_HOME", str(tmp_path / "bank"))
    monkeypatch.setenv("NLPHUB_OFFLINE", "1")
    monkeypatch.delenv("NLPHUB_REGISTRY")
    with pytest.raises(UnknownNameError):
        nlphub.Module(name="my_intent")
    bundles.install_bundle(tmp_path / "site.zip")
    assert_answers_alike(nlphub.Module(directory=run), nlphub.Module(name="shop-intent"))
    assert [(found.name, store.verify(found)) for found in store.installed()] == [("ernie_tiny", []), ("my_intent", [])]
    assert "my_intent" in [card.name for card in list_modules(task="seq-cls")]


def test_a_directory_never_looks_at_the_network_or_at_a_registry(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_the_network(monkeypatch)
    monkeypatch.setenv("NLPHUB_REGISTRY", "https://hub.example.invalid")
    assert len(nlphub.Module(directory=run).predict(TEXTS)) == len(TEXTS)


def test_a_version_holds_weights_tokenizer_labels_calibration_and_card_and_nothing_else(hub: Path, run: Path) -> None:
    place = hub / "modules" / "my_intent" / "1.0.0"
    assert sorted(path.name for path in place.iterdir()) == [
        "card.md", "config.json", "folds.tsv", "model.safetensors", "nlphub_tokenizer.json", "references.safetensors", "vocab.txt",
    ]  # fmt: skip
    assert own.check(hub) == []
    (card,) = own.parse_hub(hub).cards
    assert (card.summary, card.upstream, card.tasks) == ("ernie_tiny, fine-tuned: seq-cls with 3 labels.", "ernie_tiny 0.3.0", ("seq-cls",))
    encoder = nlphub.Module(directory=run).encoder
    assert card.parameters == sum(parameter.numel() for parameter in encoder.parameters())
    text = (place / "card.md").read_text("utf-8")
    for expected in (
        "- 查物流",
        "Temperature 1.7",
        "neighbours 0.2",
        "1 labels have thresholds",
        "own run (dev)",
        "| accuracy | 0.8125 |",
        "| support | 9 |",
        "the shop",
        "base_model",
    ):
        assert expected in text
    assert publishing.find_source(run).left_out == ("customers.jsonl",)


def test_what_is_published_is_what_a_saved_module_holds() -> None:
    """If native learns to write another file, a hub has to publish it too."""
    assert set(publishing.PUBLISHED) == native._WRITTEN - {"README.md", "training_state.json", "training_state.safetensors"}


def test_a_version_cannot_be_overwritten(hub: Path, run: Path) -> None:
    before = {path: path.read_bytes() for path in hub.rglob("*") if path.is_file()}
    for version in ("1.0.0", "1.0"):
        with pytest.raises(InputError, match=r"already, and a published version never changes.*--version 1\.0\.1"):
            own.publish_module(run, "my_intent", version=version, to=hub)
    assert before == {path: path.read_bytes() for path in hub.rglob("*") if path.is_file()}


def test_several_versions_of_one_name_resolve(hub: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("1.10.0", "1.9.0"):
        own.publish_module(run, "my_intent", version=version, to=hub)
    monkeypatch.setenv("NLPHUB_REGISTRY", str(hub))
    assert find_module("my_intent").version == "1.10.0"
    assert find_module("my_intent", version="==1.0.0").version == "1.0.0"
    assert find_module("my_intent", version="<1.10").version == "1.9.0"
    assert find_module("my-intent==1.9.0").version == "1.9.0"
    with pytest.raises(InputError, match="names a version already"):
        find_module("my_intent==1.9.0", version="1.0")
    assert own.parse_hub(hub).serial == 4
    assert own.check(hub) == []
    for version in ("1.0.0", "1.9.0", "1.10.0"):
        store.install(find_module("my_intent", version=version))
    monkeypatch.delenv("NLPHUB_REGISTRY")  # the hub is gone, what is installed keeps its names
    assert find_module("shop-intent").version == "1.10.0"
    assert store.remove("shop-intent", "1.10.0") > 0
    assert find_module("shop-intent").version == "1.9.0"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": "Bad-Name"}, r"name 'Bad-Name'"),
        ({"name": "../x"}, r"name '\.\./x'"),
        ({"name": "ernie_tiny"}, "'ernie_tiny' is taken by ernie_tiny of"),
        ({"aliases": ["ernie-tiny"]}, "'ernie_tiny' is taken by ernie_tiny of"),
        ({"name": "shop_intent"}, "'shop_intent' is taken by my_intent"),
        ({"version": "one"}, "version 'one'"),
        ({"licence": "no such licence!"}, "licence="),
        ({"summary": "two\nlines"}, "summary="),
        ({"language": "中文"}, "language="),
    ],
)
def test_what_a_registry_may_not_say_is_refused_and_nothing_is_left(hub: Path, run: Path, changes: dict[str, Any], reason: str) -> None:
    before = sorted(hub.rglob("*"))
    wanted = {"name": "other", "version": "2.0.0", **changes}
    with pytest.raises(InputError, match=reason):
        own.publish_module(run, wanted.pop("name"), to=hub, **wanted)
    assert sorted(path for path in hub.rglob("*") if path.name not in ("other", "ernie_tiny", "shop_intent")) == before
    assert own.check(hub) == []


def test_folders_that_are_no_module_are_refused(run: Path, tmp_path: Path) -> None:
    def changed(**changes: Any) -> Path:
        folder = tmp_path / f"changed-{len(list(tmp_path.iterdir()))}"
        shutil.copytree(run / "best", folder)
        config = json.loads((folder / "config.json").read_text("utf-8")) | changes
        (folder / "config.json").write_text(json.dumps(config), "utf-8")
        return folder

    cases = {
        "no module and no run": tmp_path,
        "does not ship with nlphub": changed(architecture="mine"),
        "which licence": changed(base={}),
        "tokenizer is 'x'": changed(tokenizer="x"),
    }
    (cut := changed()).joinpath("model.safetensors").write_bytes(b"\x00" * 7)
    cases["is damaged"] = cut
    (gone := changed()).joinpath("nlphub_tokenizer.json").unlink()
    cases["nlphub_tokenizer.json is missing"] = gone
    (link := changed()).joinpath("vocab.txt").unlink()
    (link / "vocab.txt").symlink_to("/etc/hostname")
    cases[r"vocab.txt is a link"] = link
    for reason, folder in cases.items():
        with pytest.raises(InputError, match=reason):
            own.publish_module(folder, "other", version="1.0.0", to=tmp_path / "hub")


def test_two_hubs_with_one_name_are_an_error_that_names_both(hub: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own.publish_module(run, "my_intent", version="2.0.0", to=tmp_path / "second")
    monkeypatch.setenv("NLPHUB_REGISTRY", f"{hub},{tmp_path / 'second'}")
    with pytest.raises(InputError, match="'my_intent' is taken by my_intent") as caught:
        load_registry()
    assert str(hub / "registry.json") in str(caught.value)
    assert str(tmp_path / "second" / "registry.json") in str(caught.value)


def test_a_hub_may_repeat_what_another_one_has_and_is_then_a_further_source(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own.add(find_module("ernie_tiny"), to=hub)
    serial = own.parse_hub(hub).serial
    own.add(find_module("ernie_tiny"), to=hub)  # nothing changes
    assert own.parse_hub(hub).serial == serial
    assert own.check(hub) == []
    monkeypatch.setenv("NLPHUB_REGISTRY", str(hub))
    for entry in find_module("ernie_tiny").files:
        assert [source.partition(":")[0] for source in entry.sources] == ["bundle", "file"]
    values = json.loads((hub / "registry.json").read_text("utf-8"))
    values["modules"]["ernie_tiny"][0]["files"][0]["sha256"] = "0" * 64
    (hub / "registry.json").write_text(json.dumps(values), "utf-8")
    with pytest.raises(InputError, match="'ernie_tiny' is taken by ernie_tiny of"):
        load_registry()


def test_a_folder_that_holds_something_else_becomes_no_hub(tmp_path: Path, hub: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("precious")
    with pytest.raises(InputError, match="not empty and no hub"):
        own.init(tmp_path / "notes")
    with pytest.raises(InputError, match="is a hub already"):
        own.init(hub)
    with pytest.raises(InputError, match="is no hub"):
        own.check(tmp_path / "notes")


def test_check_names_every_damage(hub: Path) -> None:
    place = hub / "modules" / "my_intent" / "1.0.0"
    (place / "vocab.txt").write_text("other")
    (place / "folds.tsv").unlink()
    (place / "module.py").write_text("")
    (hub / "hub.key").write_text("")
    (place / "card.md").unlink()
    (place / "card.md").symlink_to("/etc/hostname")
    (hub / "modules" / "away").symlink_to("/etc")
    wrong = own.check(hub)
    for expected in (
        "my_intent 1.0.0: vocab.txt: has 5 bytes", "my_intent 1.0.0: folds.tsv: is missing", "modules/my_intent/1.0.0/module.py: no file",
        "hub.key: a private key", "modules/away: no file of this hub", "card.md: a link leads out",
    ):  # fmt: skip
        assert any(expected in problem for problem in wrong), expected
    assert len(wrong) == 6


def test_a_publisher_that_was_killed_before_the_registry_leaves_no_version(hub: Path, run: Path) -> None:
    (hub / "modules" / "my_intent" / "1.1.0").mkdir()
    (hub / "modules" / "my_intent" / "1.1.0" / "half.json").write_text("{")
    own.publish_module(run, "my_intent", version="1.1.0", to=hub)
    assert own.check(hub) == []


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # the child only moves files
def test_kill_9_during_a_publication_leaves_a_hub_that_works(run: Path, tmp_path: Path, killed_at: Callable[..., bool]) -> None:
    number, source = 0, tmp_path / "source"
    own.publish_module(run, "my_intent", version="1.0.0", to=source)
    while True:
        number += 11  # every eleventh operation
        hub = tmp_path / f"hub-{number}"
        shutil.copytree(source, hub)
        if not killed_at(number, lambda hub=hub: own.publish_module(run, "my_intent", version="1.1.0", to=hub)):
            break
        there = [card.version for card in own.parse_hub(hub).cards]
        assert [problem for problem in own.check(hub) if not problem.endswith("nothing reads it")] == []
        if there == ["1.0.0"]:
            own.publish_module(run, "my_intent", version="1.1.0", to=hub)
        assert [problem for problem in own.check(hub) if ".part" not in problem] == []
        shutil.rmtree(hub)
    assert number > 28


def test_the_commands_publish_serve_install_and_bundle(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def call(*words: str) -> str:
        result = CliRunner().invoke(app, words)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output

    hub = str(tmp_path / "hub")
    assert "NLPHUB_REGISTRY=" in call("hub", "init", hub)
    out = call("hub", "publish", str(run), "my_intent", "--version", "1.0.0", "--to", hub)
    assert "not published: customers.jsonl" in out
    assert "my_intent 1.0.0 is in" in out
    call("hub", "add", "ernie_tiny", "--to", hub)
    assert "2 modules, serial 3, not signed, 0 problems" in call("hub", "check", hub)
    monkeypatch.setenv("NLPHUB_REGISTRY", hub)
    assert "my_intent" in call("list")
    assert f"{len(load_registry().newest)} modules in 2 registries" in call("hub", "update")
    recipe = tmp_path / "mine.yaml"
    shutil.copy(paths.bundle() / "recipes" / "intent.yaml", recipe)
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "nlphub-0.1.0-py3-none-any.whl").write_bytes(b"wheel")
    site = str(tmp_path / "site.zip")
    first = call("bundle", "my_intent==1.0.0", "ernie_tiny", "-o", site, "--recipe", str(recipe), "--wheels", str(tmp_path / "wheels"))
    assert "wheels/nlphub-0.1.0-py3-none-any.whl" in first
    monkeypatch.delenv("NLPHUB_REGISTRY")
    monkeypatch.setenv("NLPHUB_HOME", str(tmp_path / "bank"))
    assert "my_intent 1.0.0 is installed in" in call("install", site, "--out", str(tmp_path / "out"))
    assert (tmp_path / "out" / "recipes" / "mine.yaml").read_bytes() == recipe.read_bytes()
    assert (tmp_path / "out" / "wheels" / "nlphub-0.1.0-py3-none-any.whl").read_bytes() == b"wheel"
    assert "right" in call("verify", "my_intent")


def test_the_commands_of_the_document_run(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[2] / "docs" / "hub.md").read_text("utf-8")
    blocks = re.findall(r"^```bash\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    commands = [shlex.split(line, comments=True) for line in "".join(blocks).splitlines() if line.startswith("nlphub ")]
    shutil.copytree(run, tmp_path / "runs" / "intent")
    monkeypatch.chdir(tmp_path)
    for command in commands:
        if command[1:3] == ["hub", "serve"]:  # it runs until somebody stops it
            monkeypatch.setenv("NLPHUB_REGISTRY", "hub")
            continue
        if "ernie_3_0_nano" in command:  # comes from its publisher; tests/hub/test_upstream.py installs such modules
            continue
        result = CliRunner().invoke(app, command[1:])
        assert result.exit_code == 0, (command, result.output, result.exception)
    assert len(commands) > 8


def test_a_server_needs_a_hub_and_a_free_port(hub: Path, tmp_path: Path, serving: Callable[[Path], HubServer]) -> None:
    with pytest.raises(InputError, match="is no hub"):
        HubServer(tmp_path)
    port = serving(hub).server_address[1]
    with pytest.raises(StoreError, match="Choose another one with --port"):
        HubServer(hub, port=port)
