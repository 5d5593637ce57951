"""Arrays that grow piece by piece: in memory, and beyond :data:`MOST` bytes in a file without a name (:class:`nlphub.files.Scratch`)."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nlphub.files import Scratch

MOST = 16 << 20  # bytes of one array that are held in memory


class Growing:
    """An array of one dimension in the making.

    Args:
        dtype: of its values.
    """

    def __init__(self, dtype: DTypeLike) -> None:
        self.dtype = np.dtype(dtype)
        self._held, self._file = bytearray(), None  # type: bytearray, Scratch | None

    def __len__(self) -> int:
        return (len(self._held) if self._file is None else len(self._file)) // self.dtype.itemsize

    def add(self, values: NDArray[Any]) -> None:
        """Put values behind the others.

        Raises:
            StoreError: they are too many for memory, and the disk is full.
        """
        data = values.astype(self.dtype, copy=False).tobytes()
        if self._file is None and len(self._held) + len(data) > MOST:
            self._file = Scratch()
            self._file.append(self._held)
            self._held = bytearray()
        if self._file is None:
            self._held += data
        else:
            self._file.append(data)

    def array(self) -> NDArray[Any]:
        """What was added, without a copy, and the last thing to ask for. One that lies in a file is mapped: the parts of it that are
        read stay in memory only as long as the system has no better use for it, and the file ends with the array."""
        return np.frombuffer(self._held if self._file is None else self._file.map(), self.dtype)
