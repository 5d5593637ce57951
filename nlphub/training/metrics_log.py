"""``metrics.jsonl`` of a run: one line for each step, appended while training runs and cut back when a run goes on from a checkpoint."""

import json
from pathlib import Path
from typing import Any

from nlphub.files import publish_text


class MetricsLog:
    """The measurements of a run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self) -> None:
        """Forget the measurements of an earlier training."""
        publish_text(self.path, "")

    def append(self, fact: dict[str, Any]) -> None:
        """One more line. A crash can tear it; :meth:`cut_back` drops what is torn."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(fact, ensure_ascii=False, allow_nan=False) + "\n")

    def cut_back(self, step: int) -> None:
        """Keep the lines up to a step."""
        publish_text(self.path, "".join(line + "\n" for line in self._lines() if json.loads(line)["step"] <= step))

    def read(self) -> list[dict[str, Any]]:
        """All whole lines."""
        return [json.loads(line) for line in self._lines()]

    def _lines(self) -> list[str]:
        if not self.path.exists():
            return []
        lines = self.path.read_text(encoding="utf-8").split("\n")
        return [line for line in lines[:-1] if line]  # what follows the last newline was torn
