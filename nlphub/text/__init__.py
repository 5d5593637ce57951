"""Text in, ids out: normaliser, tokenizers, word boundaries, masking. Imports numpy, never torch."""
