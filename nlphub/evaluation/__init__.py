"""Scores of predictions, and pictures of them. Imports numpy, never torch."""
