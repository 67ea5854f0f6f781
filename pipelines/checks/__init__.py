"""Checks before a run: each looks at one thing that the run needs, and says in a sentence what it found."""
