"""Data files to examples to packed batches. Imports numpy, never torch."""
