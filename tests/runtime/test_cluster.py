"""Answering a file with a Ray cluster: the same bytes as here, also when a machine is lost; bounded work ahead; clear refusals."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from nlphub.cli.app import app
from nlphub.data.stream import Row
from nlphub.errors import ClusterError, InputError, MissingExtraError
from nlphub.runtime import cluster
from nlphub.runtime.job import here
from nlphub.runtime.predictor import Predictor

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three groups of rows, some of them blank."""
    path = tmp_path_factory.mktemp("table") / "in.txt"
    path.write_text("".join("\u3000\n" if n % 9 == 2 else f"退货{n}\n" for n in range(2100)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def two_nodes(exported: Path, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the program beside this file found, and where the command wrote."""
    output = tmp_path_factory.mktemp("answers") / "ray.jsonl"
    words = [sys.executable, str(Path(__file__).with_name("two_nodes.py")), str(exported), str(table), str(output)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-5000:]
    return json.loads(output.with_name("found.json").read_text(encoding="utf-8")), output


def test_the_command_writes_the_same_bytes_as_without_a_cluster(two_nodes: Any, exported: Path, table: Path, tmp_path: Path) -> None:
    found, output = two_nodes
    Predictor(exported).predict_file(table, tmp_path / "here.jsonl", top_k=3)
    assert "2,100 rows" in found["command"], found["command"]
    assert output.read_bytes() == (tmp_path / "here.jsonl").read_bytes()
    assert output.with_name("ray.errors.jsonl").read_bytes() == (tmp_path / "here.errors.jsonl").read_bytes()


def test_a_lost_machine_costs_no_answer(two_nodes: Any, exported: Path) -> None:
    found = two_nodes[0]
    texts = [None if n % 7 == 3 else "退货" * (n % 5) + str(n) for n in range(120)]
    groups = [[Row(n, texts[n]) for n in range(start, start + 4)] for start in range(0, 120, 4)]
    predictor = Predictor(exported)
    expected = [
        [[row.number for row in group], [answer.as_dict() for answer in answers]]
        for group, answers in here(lambda given: predictor(given, top_k=2))(groups)
    ]
    assert found["machines"] == 2
    assert found["lost"] == json.loads(json.dumps(expected))
    assert found["still joined"]  # the cluster was joined by the caller, who leaves it


def test_a_mistake_is_told_as_without_a_cluster(two_nodes: Any, exported: Path) -> None:
    with pytest.raises(InputError) as wrong:
        Predictor(exported)(["退货"], top_k=0)
    assert two_nodes[0]["top_k=0"] == ["InputError", str(wrong.value)]


def test_machines_with_another_version_are_refused(two_nodes: Any) -> None:
    kind, message = two_nodes[0]["version"]
    assert kind == "ClusterError"
    assert "9.9.9" in message
    assert "pip install nlphub==" in message


class FakeRay:
    """Ray as far as the engine sees it: tasks are answered when they are asked for."""

    exceptions = SimpleNamespace(RayTaskError=type("RayTaskError", (Exception,), {}), RayError=type("RayError", (Exception,), {}))

    def __init__(self, cores: int) -> None:
        self.cores = cores

    def remote(self, **options: Any) -> Callable[..., Any]:
        return lambda function: SimpleNamespace(remote=lambda shipped, top_k, texts: texts)

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": float(self.cores)} if self.cores else {}

    def get(self, asked: list[str]) -> list[str]:
        return [text.upper() for text in asked]


def engine_of(ray: FakeRay) -> Any:
    return cluster._engine(ray, None, "cpu", 1)


def test_no_more_than_two_groups_for_each_core_are_under_way() -> None:
    taken = list[int]()

    def groups() -> Iterator[list[Row]]:
        for n in range(20):
            taken.append(n)
            yield [Row(n, f"a{n}")]

    for done, (group, answers) in enumerate(engine_of(FakeRay(3))(groups())):
        assert (group[0].number, answers) == (done, [f"A{done}"])
        assert len(taken) == min(20, done + 6)


def test_a_cluster_without_cores_is_an_error() -> None:
    with pytest.raises(ClusterError, match="has no CPU"):
        list(engine_of(FakeRay(0))([[Row(1, "a")]]))


@pytest.mark.parametrize(("address", "reason"), [("127.0.0.1:9", "refused"), ("nowhere", "no HOST:PORT"), ("ray://:1", "no HOST:PORT")])
def test_an_address_where_nobody_listens(address: str, reason: str, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False))  # type: ignore[arg-type]
    with pytest.raises(ClusterError, match=reason) as wrong, Predictor(exported).engine("ray"):
        pass
    assert "ray start --head" in str(wrong.value)


def test_without_ray_the_extra_is_named(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # type: ignore[arg-type]
    with pytest.raises(MissingExtraError, match=r"nlphub\[ray\]"), Predictor(exported).engine("ray"):
        pass


def test_options_that_do_not_go_with_an_engine(exported: Path, small_folder: Path, table: Path, tmp_path: Path) -> None:
    def refused(*words: Any) -> str:
        wrong = CliRunner().invoke(app, ["predict", *map(str, words)]).exception
        assert isinstance(wrong, InputError)
        return str(wrong)

    output = ["--input", table, "--output", tmp_path / "out.jsonl"]
    assert "--engine is of --output FILE" in refused(exported, "退货", "--engine", "ray")
    assert "--threads is of this process" in refused(exported, *output, "--engine", "ray", "--threads", 2)
    assert "neither 'here' nor 'ray'" in refused(exported, *output, "--engine", "spark")
    assert "of exported folders" in refused(small_folder, *output, "--engine", "ray")
    assert not list(tmp_path.iterdir())
