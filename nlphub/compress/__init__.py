"""Smaller modules from trained ones: fewer entries of the vocabulary, fewer layers, fewer heads, narrower feed-forward layers.

What is cut is chosen by what it was measured to be worth; :mod:`nlphub.training.distillation` lets what is left learn from the whole.
"""
