"""The merge methods: each is one function on the flat tensors of one parameter, registered in ``METHODS``.

A method receives one-dimensional tensors in the dtype they are stored in (one per model), a weight per model, the base
model's tensor or None, and the options; it returns the merged tensor in fp32. To add one, write it and register it.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Generator, Tensor

BLOCK = 1 << 18  # elements; small enough that the blocks of several models stay in the processor's cache
PARALLEL = 0.9995
NO_WEIGHT = 1e-8


@dataclass(frozen=True)
class Options:
    """``key`` names the parameter and the seed: what is drawn at random depends on nothing else."""

    key: str = ""
    density: float = 1.0
    t: float | None = None
    normalize: bool = True
    rescale: Literal["1/p", "l1"] = "1/p"


@dataclass(frozen=True)
class Method:
    """``blockwise``: may be applied to any part of a tensor by itself; ``models``: how many it takes, None for any."""

    merge: "Callable[[Sequence[Tensor], Sequence[float], Tensor | None, Options], Tensor]"
    blockwise: bool = False
    needs_base: bool = False
    models: int | None = None


def linear(tensors: "Sequence[Tensor]", weights: Sequence[float], base: "Tensor | None", options: Options) -> "Tensor":
    """Weighted average, sum(w_i x_i) / sum(w_i): Model Soups, https://arxiv.org/abs/2203.05482.

    Without ``normalize`` the sum is not divided.
    """
    if options.normalize and sum(weight != 0 for weight in weights) == 1:
        return weighted_sum(tensors, [float(weight != 0) for weight in weights])
    total = math.fsum(weights) if options.normalize else 1.0
    result = weighted_sum(tensors, weights)
    return result if total == 1.0 else result.div_(total)


def slerp(tensors: "Sequence[Tensor]", weights: Sequence[float], base: "Tensor | None", options: Options) -> "Tensor":
    """Spherical interpolation, (sin((1-t) o) x_0 + sin(t o) x_1) / sin(o) with o the angle between x_0 and x_1.

    Shoemake 1985, https://doi.org/10.1145/325165.325242. ``t`` is the second model's share of the weights unless it is
    given. Nearly parallel tensors (|cos o| > 0.9995) and zero tensors are interpolated linearly.
    """
    t = options.t if options.t is not None else weights[1] / math.fsum(weights)
    first, second = tensors
    norms = math.sqrt(_dot(first, first) * _dot(second, second))
    cosine = _dot(first, second) / norms if norms > 0 else 1.0
    if abs(cosine) > PARALLEL:
        return weighted_sum(tensors, (1 - t, t))
    angle = math.acos(cosine)
    return weighted_sum(tensors, (math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)))


def ties(tensors: "Sequence[Tensor]", weights: Sequence[float], base: "Tensor | None", options: Options) -> "Tensor":
    """Trim, elect sign, disjoint merge (lambda = 1): TIES-Merging, https://arxiv.org/abs/2306.01708.

    Of each task vector d_i = x_i - base the ``density`` n entries largest in magnitude are kept (at least one; of
    equal ones the first). The sign of sum(w_i d_i) is elected per entry, and the kept entries that agree with it are
    averaged: base + sum(w_i d_i) / sum(w_i) over those; without ``normalize`` they are summed.
    """
    assert base is not None
    count = max(1, int(options.density * base.numel()))
    kept = [largest((tensor.float() - base.float()).abs_(), count) for tensor in tensors]
    return _elect_and_merge(tensors, kept, weights, weights, base, options.normalize)


def dare_ties(
    tensors: "Sequence[Tensor]", weights: Sequence[float], base: "Tensor | None", options: Options
) -> "Tensor":
    """Drop at random and rescale, then elect sign and merge as TIES does: DARE, https://arxiv.org/abs/2311.03099.

    Each entry of a task vector is kept with probability p = ``density``. ``rescale`` "1/p" multiplies the kept ones by
    1/p, as in the paper; "l1" restores the task vector's L1 norm, as in mergekit.
    """
    assert base is not None
    kept = [_bernoulli(base.numel(), options.density, _generator(options.key, index)) for index in range(len(tensors))]
    if options.rescale == "1/p":
        scales = [1 / options.density] * len(tensors)
    else:
        scales = [_l1_scale(tensor, base, mask) for tensor, mask in zip(tensors, kept, strict=True)]
    scaled = [weight * scale for weight, scale in zip(weights, scales, strict=True)]
    return _elect_and_merge(tensors, kept, scaled, weights, base, options.normalize)


METHODS: dict[str, Method] = {
    "linear": Method(linear, blockwise=True),
    "slerp": Method(slerp, models=2),
    "ties": Method(ties, needs_base=True),
    "dare-ties": Method(dare_ties, needs_base=True),
}


def weighted_sum(tensors: "Sequence[Tensor]", weights: Sequence[float]) -> "Tensor":
    """sum(w_i x_i) in fp32. What has no weight is left out, so that (1, 0) keeps every bit of the first, -0.0 too."""
    import torch

    terms = [(tensor, weight) for tensor, weight in zip(tensors, weights, strict=True) if weight != 0]
    if not terms:
        return torch.zeros_like(tensors[0], dtype=torch.float32)
    result = terms[0][0].to(torch.float32, copy=True)
    if terms[0][1] != 1:
        result.mul_(terms[0][1])
    for tensor, weight in terms[1:]:
        result.add_(tensor.float(), alpha=weight)
    return result


def largest(magnitudes: "Tensor", count: int) -> "Tensor":
    """A mask of the ``count`` largest of non-negative fp32 numbers; of equal ones the first, and zeros never.

    Non-negative floats order like their bit patterns, so two histograms of 16 bits each find the threshold exactly: two
    passes over the bytes where sorting takes n log n.
    """
    import torch

    bits = magnitudes.view(torch.int32)
    high, above = _bin_of(torch.bincount(bits >> 16), count)
    inside = bits[(bits >> 16) == high] & 0xFFFF
    low, above_inside = _bin_of(torch.bincount(inside), count - above)
    threshold = (high << 16) | low
    mask = bits > threshold
    if threshold > 0:
        equal = (bits == threshold).nonzero()[: count - above - above_inside, 0]
        mask[equal] = True
    return mask


def blocks(length: int, size: int = BLOCK) -> Iterator[slice]:
    """Consecutive slices of at most ``size`` that cover ``length`` elements."""
    return (slice(start, min(start + size, length)) for start in range(0, length, size))


def _bin_of(counts: "Tensor", count: int) -> tuple[int, int]:
    """The bin that holds the ``count``-th largest number, and how many numbers lie in the bins above it."""
    from_top = counts.flip(0).cumsum(0)
    position = int((from_top < count).sum())
    above = int(from_top[position - 1]) if position else 0
    return len(counts) - 1 - position, above


def _elect_and_merge(
    tensors: "Sequence[Tensor]",
    kept: "Sequence[Tensor]",
    factors: Sequence[float],
    weights: Sequence[float],
    base: "Tensor",
    normalize: bool,
) -> "Tensor":
    import torch

    result = torch.empty(base.numel(), dtype=torch.float32)
    for part in blocks(base.numel()):
        origin = base[part].float()
        deltas = [
            (tensor[part].float() - origin).mul_(factor).mul_(mask[part])
            for tensor, mask, factor in zip(tensors, kept, factors, strict=True)
        ]
        elected = torch.where(torch.stack(deltas).sum(0) >= 0, 1.0, -1.0)
        agreeing = [delta * elected > 0 for delta in deltas]
        merged = weighted_sum(
            [delta * agrees for delta, agrees in zip(deltas, agreeing, strict=True)], [1.0] * len(deltas)
        )
        if normalize:
            divisor = weighted_sum(agreeing, weights)
            merged.div_(torch.where(divisor.abs() > NO_WEIGHT, divisor, 1.0))
        result[part] = merged.add_(origin)
    return result


def _dot(first: "Tensor", second: "Tensor") -> float:
    """The inner product, summed in double precision in an order that does not depend on the number of threads."""
    products = (first[part].double().numpy() * second[part].double().numpy() for part in blocks(first.numel()))
    return math.fsum(float(product.sum()) for product in products)


def _bernoulli(length: int, probability: float, generator: "Generator") -> "Tensor":
    import torch

    mask = torch.empty(length, dtype=torch.bool)
    for part in blocks(length):
        mask[part] = torch.rand(part.stop - part.start, generator=generator) < probability
    return mask


def _generator(key: str, index: int) -> "Generator":
    import torch

    seed = hashlib.sha256(f"{key}/{index}".encode()).digest()[:8]
    return torch.Generator().manual_seed(int.from_bytes(seed, "little") >> 1)


def _l1_scale(tensor: "Tensor", base: "Tensor", mask: "Tensor") -> float:
    before = after = 0.0
    for part in blocks(base.numel()):
        magnitudes = (tensor[part].double() - base[part].double()).abs().numpy()
        before += float(magnitudes.sum())
        after += float((magnitudes * mask[part].numpy()).sum())
    return before / after if after > 0 else 1.0
