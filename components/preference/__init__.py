"""Preference pairs for direct preference optimization."""
