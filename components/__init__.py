"""The post-training method in plain Python: one folder per stage, plus ``common``."""

PRODUCT = "expanse"
