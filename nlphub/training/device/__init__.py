"""A training step that a GPU runs without waiting for the host: few shapes, captured graphs, copies ahead, losses read one step late.

Opt-in (``train.graphs``), since it has not been measured on a card yet. Every part also runs on a CPU, where a "captured graph" is the
recorded call itself; that is how it is tested.
"""
