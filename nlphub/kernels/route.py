"""What every route offers: the same seven functions, whoever computes them."""

from typing import Protocol

from torch import Tensor

from nlphub.kernels.layout import Layout
from nlphub.kernels.reference import Dropout


class Route(Protocol):
    """What a route offers; modules of this package are routes."""

    __name__: str

    def attention(self, q: Tensor, k: Tensor, v: Tensor, layout: Layout, *, heads: int, dropped: Dropout | None = None) -> Tensor: ...

    def add_norm(
        self,
        x: Tensor,
        residual: Tensor,
        weight: Tensor,
        bias: Tensor,
        *,
        eps: float,
        dropped: Dropout | None = None,
        shift: Tensor | None = None,
    ) -> Tensor: ...

    def bias_gelu(self, x: Tensor, bias: Tensor, *, activation: str = "gelu") -> Tensor: ...

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor: ...

    def linear_gelu(self, x: Tensor, weight: Tensor, bias: Tensor, *, activation: str = "gelu") -> Tensor: ...

    def dropout(self, x: Tensor, dropped: Dropout | None) -> Tensor: ...

    def row_keys(self, seed: int | Tensor, layer: int, site: int, examples: Tensor, positions: Tensor) -> Tensor: ...
