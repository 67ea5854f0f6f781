"""Choices that look random but depend on nothing except their subject: the same on every machine and in every order."""

import hashlib


def stable_fraction(*parts: str | int) -> float:
    """A number in [0, 1) that is uniform over subjects and fixed for one: the sha256 of ``parts``, scaled."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:6], "big") / (1 << 48)
