"""Multilingual data arbitrage: for every prompt the best of several teachers."""
