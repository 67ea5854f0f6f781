"""Leaf helpers shared by every stage; nothing here imports a stage."""
