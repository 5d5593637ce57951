"""Which tile does the work for which length, width of a head and type: numbers only, no Triton.

A tile has all keys of a sequence on the chip where that fits; else blocks of keys (:data:`BLOCKS`). ``registers`` (of a thread) and
``shared`` (bytes of a program) are the larger ones of compiling for sm_80 and sm_90 with Triton 3.9.0 and its own ``ptxas``, with dropout
(no GPU needed), rounded up; nothing is spilled to memory but where that is said. The tests compile all of it anew and hold it against these
numbers.

The choice among tiles without spills is an estimate, not a measurement: no GPU has timed it yet.
"""

from dataclasses import dataclass

from nlphub.kernels.layout import BUCKETS

WIDEST = 128
"""Columns that a head may have."""

ITEM_SIZES = (2, 4)
"""Bytes of a number: float16 and bfloat16, float32."""


@dataclass(frozen=True, slots=True)
class Tile:
    """What one program works on at a time.

    Attributes:
        queries: rows of a block of queries.
        keys: rows of keys; 0 for all of the bucket.
        warps: of 32 threads.
        registers: of a thread, at most.
        shared: bytes of shared memory, at most.
        heads: one after the other in one program.
        spills: bytes of a thread that do not fit into registers.
    """

    queries: int
    keys: int
    warps: int
    registers: int
    shared: int
    heads: int = 1
    spills: int = 0


FORWARD: dict[tuple[int, int], dict[int, Tile]] = {  # by (bytes of a number, padded width), then by bucket
    (2, 32): {
        16: Tile(16, 0, 1, 136, 3072, heads=2),
        32: Tile(32, 0, 2, 120, 6144),
        64: Tile(32, 0, 4, 128, 10240),
        128: Tile(16, 0, 4, 88, 20480),
        256: Tile(16, 0, 8, 88, 40960),
    },
    (2, 64): {
        16: Tile(16, 0, 1, 112, 6144, heads=2),
        32: Tile(32, 0, 2, 96, 12288),
        64: Tile(32, 0, 4, 96, 20480),
        128: Tile(32, 0, 8, 80, 40960),
        256: Tile(16, 0, 8, 112, 73728),
    },
    (2, 128): {
        16: Tile(16, 0, 1, 128, 12288),
        32: Tile(32, 0, 2, 144, 24576),
        64: Tile(32, 0, 4, 128, 40960),
        128: Tile(32, 0, 8, 96, 73728),
        256: Tile(16, 0, 8, 112, 139264),
    },
    (4, 32): {
        16: Tile(16, 0, 2, 80, 10240),
        32: Tile(16, 0, 4, 80, 20480),
        64: Tile(16, 0, 4, 112, 40960),
        128: Tile(16, 0, 8, 160, 81920),
    },
    (4, 64): {16: Tile(16, 0, 2, 120, 20480), 32: Tile(16, 0, 4, 112, 36864), 64: Tile(16, 0, 8, 112, 73728)},
    (4, 128): {16: Tile(16, 0, 4, 160, 40960), 32: Tile(16, 0, 8, 160, 73728)},
}

BACKWARD: dict[tuple[int, int], dict[int, Tile]] = {
    (2, 32): {
        16: Tile(16, 0, 1, 144, 5632),
        32: Tile(16, 0, 2, 144, 9216),
        64: Tile(16, 0, 4, 128, 17408),
        128: Tile(16, 0, 4, 216, 33792),
        256: Tile(16, 0, 8, 255, 66560),
    },
    (2, 64): {
        16: Tile(16, 0, 1, 192, 10752),
        32: Tile(32, 0, 2, 248, 22528),
        64: Tile(32, 0, 4, 224, 40960),
        128: Tile(32, 0, 8, 248, 69632),
        256: Tile(16, 0, 8, 255, 116736),
    },
    (2, 128): {
        16: Tile(16, 0, 2, 184, 20992),
        32: Tile(16, 0, 4, 168, 33792),
        64: Tile(16, 0, 4, 255, 65536),
        128: Tile(16, 0, 8, 255, 114688),
    },
    (4, 32): {16: Tile(16, 0, 2, 160, 16384), 32: Tile(16, 0, 4, 160, 28672), 64: Tile(16, 0, 8, 176, 61440)},
    (4, 64): {16: Tile(16, 0, 2, 208, 32768), 32: Tile(16, 0, 4, 208, 57344), 64: Tile(16, 0, 8, 176, 114688)},
    (4, 128): {},
}

BLOCKS: dict[str, dict[tuple[int, int], Tile]] = {  # by kernel; within 99 KiB, so every card from sm_80 on has a way
    "forward": {
        (2, 64): Tile(64, 64, 8, 184, 24576),
        (2, 128): Tile(64, 64, 8, 168, 49152),
        (4, 32): Tile(16, 32, 4, 96, 8192),
        (4, 64): Tile(16, 32, 4, 120, 16384),
        (4, 128): Tile(16, 32, 4, 192, 32768),
    },
    "queries": {
        (2, 64): Tile(32, 64, 4, 136, 20480),
        (2, 128): Tile(32, 32, 4, 240, 26624),
        (4, 32): Tile(16, 32, 4, 128, 12288),
        (4, 64): Tile(16, 32, 4, 168, 24576),
        (4, 128): Tile(16, 32, 4, 255, 49152),
    },
    "keys": {
        (2, 64): Tile(32, 64, 4, 255, 32768),
        (2, 128): Tile(32, 64, 8, 176, 65536),
        (4, 32): Tile(16, 32, 4, 255, 20480),
        (4, 64): Tile(16, 32, 4, 168, 40960),
        (4, 128): Tile(16, 32, 8, 255, 81920),
    },
}

SINGLE_REGISTERS = 255
SINGLE_SPILLS = {(4, 128, 256): 192, (2, 128, 256): 16}  # by (bytes of a number, padded width, bucket), of the backward kernel
_ELEMENTS = 512  # of keys for each warp of a kernel with one query


def padded(width: int) -> int:
    """Columns of a tile of heads of ``width`` columns: the next power of 2, at least the 16 that a matrix unit takes."""
    return max(16, 1 << (width - 1).bit_length())


def whole(table: dict[tuple[int, int], dict[int, Tile]], bucket: int, width: int, size: int, shared: int) -> Tile | None:
    """The tile that has all keys on the chip, for numbers of ``size`` bytes; nothing where it needs more than ``shared`` bytes."""
    tile = table[size, max(32, padded(width))].get(bucket)
    return tile if tile is not None and tile.shared <= shared else None


def blocks(kernel: str, width: int, size: int) -> Tile:
    """The tile of ``forward``, ``queries`` or ``keys`` where keys come in blocks."""
    return BLOCKS[kernel][size, max(32, padded(width))]


def single_warps(bucket: int, width: int) -> int:
    """Warps of a kernel with one query a sequence."""
    elements = bucket * padded(width)
    return min(8 if elements <= 16384 else 16, max(1, elements // _ELEMENTS))


def threshold(probability: float) -> int:
    """What the hash of a place is compared with, as a signed number: :func:`nlphub.kernels.reference.keep`."""
    return round(probability * 2**32) - 2**31


def refusal(*, width: int, size: int, longest: int) -> str | None:
    """Why the attention kernels do not take heads of ``width`` columns, numbers of ``size`` bytes, sequences of ``longest`` tokens."""
    reasons = []
    if width > WIDEST:
        reasons.append(f"heads of {width} columns are wider than {WIDEST}")
    if size not in ITEM_SIZES:
        reasons.append(f"numbers of {size} bytes, not of {' or '.join(map(str, ITEM_SIZES))}")
    if longest > BUCKETS[-1]:
        reasons.append(f"{longest} tokens are more than {BUCKETS[-1]}")
    return "; ".join(reasons) or None
