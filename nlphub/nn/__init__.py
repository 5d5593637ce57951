"""The network: the ERNIE encoder on packed rows, its padded twin, task heads, seeded initial weights."""
