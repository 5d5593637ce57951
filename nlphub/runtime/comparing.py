"""An exported bi-encoder: vectors of texts, each read once, and what the second graph makes of two of them. Notation: ``b`` pairs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nlphub.data.apart import Vectors, texts_of
from nlphub.runtime.artefact import OUTPUT, VECTORS
from nlphub.runtime.session import Graph
from nlphub.text.encoding import Encoded

Floats = NDArray[np.float32]


class Comparing:
    """The graph that compares, and the vectors of the texts that were read last.

    Args:
        graph: of two vectors.
        threads, provider: as of :class:`~nlphub.runtime.session.Graph`.
    """

    def __init__(self, graph: Path, *, threads: int | None = None, provider: str = "cpu") -> None:
        self._graph, self._vectors = Graph(graph, threads=threads, provider=provider), Vectors()

    def logits(self, encoded: Encoded, read: Callable[[Encoded], Floats]) -> Floats:
        """``(b, labels)`` of pairs from :func:`nlphub.data.apart.encode_apart`, one at least.

        Args:
            read: texts -> their vectors, by the graph of texts.
        """
        vectors = self._vectors.of(texts_of(encoded), read)
        (found,) = self._graph.run([OUTPUT], dict(zip(VECTORS, (vectors[0::2], vectors[1::2]), strict=True)))
        logits: Floats = found
        return logits
