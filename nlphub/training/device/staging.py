"""From numpy arrays to the device without anybody waiting: page-locked buffers in turn, one copy for each batch, on a stream of its own.

All arrays of a batch lie in one buffer of bytes, so a batch is one copy. While the device works on one batch, the next is written into
the other buffer and copied; nothing is overwritten before the device has read it.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Arrays = Mapping[str, NDArray[Any]]

_ALIGNED = 16  # bytes


@dataclass(frozen=True, slots=True)
class Place:
    """Where one array lies in a buffer: its first byte, and what it is."""

    first: int
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Its size."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def view(self, buffer: Tensor) -> Tensor:
        """It, in a buffer ``(bytes,)`` uint8."""
        return buffer[self.first : self.first + self.bytes].view(self.dtype).view(self.shape)


@dataclass(frozen=True, slots=True)
class Form:
    """How the arrays of a batch lie in one buffer.

    Attributes:
        places: of the arrays, by name.
        size: bytes of the buffer.
    """

    places: tuple[tuple[str, Place], ...]
    size: int

    @classmethod
    def of(cls, arrays: Arrays) -> Self:
        """The form of batches like this one."""
        places, first = [], 0
        for name, array in arrays.items():
            place = Place(first, torch.from_numpy(np.empty(0, array.dtype)).dtype, array.shape)
            places.append((name, place))
            first = -(-(first + place.bytes) // _ALIGNED) * _ALIGNED
        return cls(tuple(places), max(first, _ALIGNED))

    def views(self, buffer: Tensor) -> dict[str, Tensor]:
        """The arrays in a buffer, by name, without copies."""
        return {name: place.view(buffer) for name, place in self.places}

    def write(self, arrays: Arrays, buffer: Tensor) -> None:
        """Put the arrays into a buffer on the host.

        Raises:
            ValueError: they are of another form.
        """
        if (given := type(self).of(arrays)) != self:
            raise ValueError(f"this buffer is for {self.places}, not for {given.places}")
        for name, view in self.views(buffer).items():
            view.numpy()[...] = arrays[name]


class Staging:
    """Batches of one form on their way to the device.

    Args:
        form: of the batches.
        device: where they go; streams and page-locked memory are used where it is a CUDA device.
        slots: how many may be on their way at once.
    """

    def __init__(self, form: Form, device: torch.device, *, slots: int = 2) -> None:
        self.form, self.device = form, device
        self._cuda = device.type == "cuda"
        self._slots = [_Slot(form, device) for _ in range(slots)]
        self._free, self._filled = deque(range(slots)), deque[int]()
        self._stream = torch.cuda.Stream(device) if self._cuda else None  # type: ignore[no-untyped-call]

    @property
    def waiting(self) -> int:
        """How many batches were put in and not taken out."""
        return len(self._filled)

    def put(self, arrays: Arrays) -> None:
        """Send a batch on its way. The host waits only for copies of the batch that had this slot before, which are long over.

        Raises:
            RuntimeError: every slot holds a batch that was not taken.
        """
        if not self._free:
            raise RuntimeError(f"all {len(self._slots)} slots hold batches that nobody took")
        number = self._free.popleft()
        slot = self._slots[number]
        if slot.copied is not None:
            slot.copied.synchronize()
        self.form.write(arrays, slot.host)
        if self._stream is None:
            slot.there.copy_(slot.host)
        else:
            slot.send(self._stream)
        self._filled.append(number)

    def take(self, into: Tensor) -> None:
        """Put the oldest batch that is on its way into a buffer ``(size,)`` on the device, in the order of the device's work.

        Raises:
            RuntimeError: there is none.
        """
        if not self._filled:
            raise RuntimeError("no batch is on its way")
        number = self._filled.popleft()
        self._slots[number].give(into)
        self._free.append(number)


class _Slot:
    """A buffer on the host and one on the device."""

    def __init__(self, form: Form, device: torch.device) -> None:
        cuda = device.type == "cuda"
        self.host = torch.empty(form.size, dtype=torch.uint8, pin_memory=cuda)
        self.there = torch.empty(form.size, dtype=torch.uint8, device=device)
        self.copied = torch.cuda.Event() if cuda else None  # type: ignore[no-untyped-call]
        self._read = torch.cuda.Event() if cuda else None  # type: ignore[no-untyped-call]
        if self._read is not None:
            self._read.record()  # what was in this memory before has to be over, too

    def send(self, stream: torch.cuda.Stream) -> None:
        """Copy to the device on ``stream``, behind the last reading of what was there."""
        assert self.copied is not None
        assert self._read is not None
        with torch.cuda.stream(stream):
            stream.wait_event(self._read)
            self.there.copy_(self.host, non_blocking=True)
            self.copied.record(stream)

    def give(self, into: Tensor) -> None:
        """Copy on the device, on the stream in use, behind the copy to it."""
        if self.copied is not None and self._read is not None:
            torch.cuda.current_stream(into.device).wait_event(self.copied)
            into.copy_(self.there, non_blocking=True)
            self._read.record(torch.cuda.current_stream(into.device))
        else:
            into.copy_(self.there)
