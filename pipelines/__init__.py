"""Wiring only: the recipe, the graph and the commands."""
