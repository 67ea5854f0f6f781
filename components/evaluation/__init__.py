"""Evaluation: what a model can do and how it behaves, each figure with its interval."""
