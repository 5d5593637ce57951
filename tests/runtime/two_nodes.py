"""A program for test_cluster.py: answers on a Ray cluster of two nodes on this machine, and what happens when one is lost.

Ray warns, starts threads and holds ports, so none of it runs in the process of the tests.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray
from ray.cluster_utils import Cluster

from nlphub import Predictor
from nlphub.data.stream import Row
from nlphub.errors import NlphubError
from nlphub.runtime import cluster as clusters

NODE = {"num_cpus": 1, "object_store_memory": 100 << 20}
TEXTS = [None if n % 7 == 3 else "退货" * (n % 5) + str(n) for n in range(120)]
GROUPS = [[Row(n, TEXTS[n], None if TEXTS[n] else "blank") for n in range(start, start + 4)] for start in range(0, 120, 4)]


def main(artefact: str, table: str, output: str) -> None:
    with TemporaryDirectory(prefix="ray-") as folder:
        os.environ["RAY_TMPDIR"] = folder
        cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
        found = scenes(cluster, artefact, table, output)
        cluster.shutdown()
    Path(output).with_name("found.json").write_text(json.dumps(found), encoding="utf-8")  # Ray prints


def scenes(cluster: Cluster, artefact: str, table: str, output: str) -> dict[str, Any]:
    other = cluster.add_node(**NODE)
    predictor = Predictor(artefact)
    found = {"command": command(cluster.address, artefact, table, output)}
    ray.init(address=cluster.address, log_to_driver=False)
    found["top_k=0"] = error(lambda: answers(predictor, top_k=0))
    found["machines"] = len(ray.nodes())
    found["lost"] = answers(predictor, top_k=2, meanwhile=lambda: cluster.remove_node(other, allow_graceful=False))
    found["still joined"] = ray.is_initialized()
    clusters.__version__ = "9.9.9"
    found["version"] = error(lambda: answers(predictor, top_k=2))
    ray.shutdown()
    return found


def command(address: str, artefact: str, table: str, output: str) -> str:
    words = [sys.executable, "-m", "nlphub", "predict", artefact, "--input", table, "--output", output, "--engine", "ray"]
    done = subprocess.run(words, env={**os.environ, "RAY_ADDRESS": address}, capture_output=True, text=True)
    return done.stderr


def answers(predictor: Predictor, *, top_k: int, meanwhile: Callable[[], Any] | None = None) -> list[Any]:
    """Of all groups; something happens once the first is there."""
    found: list[Any] = []
    with clusters.on_cluster(predictor, top_k=top_k) as engine:
        for group, said in engine(iter(GROUPS)):
            found.append([[row.number for row in group], [answer.as_dict() for answer in said]])
            if meanwhile and len(found) == 1:
                meanwhile()
    return found


def error(do: Callable[[], Any]) -> list[str]:
    try:
        do()
    except NlphubError as wrong:
        return [type(wrong).__name__, str(wrong)]
    return []


if __name__ == "__main__":
    main(*sys.argv[1:])
