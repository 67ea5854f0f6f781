"""The merge methods against their formulas, written out, and their algebra."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.merging.methods import BLOCK, METHODS, Options, blocks, dare_ties, largest, linear, slerp, ties

seeds = st.integers(0, 2**32 - 1)
densities = st.floats(0.01, 1)
property_test = settings(deadline=None, max_examples=50, derandomize=True)


def random(seed: int, count: int, length: int = 40) -> list[torch.Tensor]:
    return list(torch.randn(count, length, generator=torch.Generator().manual_seed(seed)))


def test_linear_is_the_weighted_average():
    first, second = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 6.0])
    assert linear([first, second], [1, 3], None, Options()).tolist() == [2.5, 5.0]
    assert linear([first, second], [1, 3], None, Options(normalize=False)).tolist() == [10.0, 20.0]


def test_linear_accumulates_bf16_in_fp32():
    tensors = [torch.tensor([256.0], dtype=torch.bfloat16), *[torch.tensor([1.0], dtype=torch.bfloat16)] * 8]
    assert linear(tensors, [1.0] * 9, None, Options(normalize=False)).item() == 264.0


@property_test
@given(seeds, st.floats(0.01, 100))
def test_linear_with_one_weight_keeps_every_bit(seed, weight):
    first, second = random(seed, 2)
    first[0] = -0.0
    merged = linear([first, second], [weight, 0], None, Options())
    assert torch.equal(merged.view(torch.int32), first.view(torch.int32))


@property_test
@given(seeds, st.permutations(range(4)), st.sampled_from(["linear", "ties"]))
def test_the_order_of_the_models_does_not_matter(seed, order, name):
    *tensors, base = random(seed, 5)
    weights = [1.0, 2.0, 3.0, 0.5]
    method, options = METHODS[name].merge, Options(density=0.5)
    shuffled = method([tensors[i] for i in order], [weights[i] for i in order], base, options)
    torch.testing.assert_close(shuffled, method(tensors, weights, base, options))


@property_test
@given(seeds)
def test_slerp_ends_are_the_models(seed):
    first, second = random(seed, 2)
    assert torch.equal(slerp([first, second], [1, 0], None, Options()), first)
    assert torch.equal(slerp([first, second], [1, 1], None, Options(t=1.0)), second)


@property_test
@given(seeds, st.floats(0, 1))
def test_slerp_of_equal_tensors_is_that_tensor(seed, t):
    (tensor,) = random(seed, 1)
    torch.testing.assert_close(slerp([tensor, tensor], [1, 1], None, Options(t=t)), tensor)


@property_test
@given(seeds, st.floats(0, 1))
def test_slerp_of_unit_vectors_stays_on_the_sphere_at_the_right_angle(seed, t):
    first, second = (tensor / tensor.norm() for tensor in random(seed, 2))
    merged = slerp([first, second], [1, 1], None, Options(t=t))
    assert merged.norm().item() == pytest.approx(1, abs=1e-5)
    angle = math.acos(float(first @ second))
    assert float(first @ merged) == pytest.approx(math.cos(t * angle), abs=1e-4)


def test_slerp_of_opposite_and_of_zero_tensors_is_linear():
    tensor = torch.tensor([1.0, -2.0])
    assert slerp([tensor, -tensor], [1, 1], None, Options(t=0.25)).tolist() == [0.5, -1.0]
    assert slerp([tensor, torch.zeros(2)], [1, 1], None, Options(t=0.5)).tolist() == [0.5, -1.0]


def test_ties_trims_elects_and_averages_those_who_agree():
    base = torch.tensor([10.0, 10.0, 10.0, 10.0])
    first = base + torch.tensor([4.0, -3.0, 0.1, 0.0])
    second = base + torch.tensor([2.0, 5.0, 0.0, 0.2])
    third = base + torch.tensor([-1.0, 1.0, -0.3, 0.0])
    merged = ties([first, second, third], [1, 1, 1], base, Options(density=0.5))
    assert merged.tolist() == [13.0, 13.0, 10.0, 10.0]
    weighted = ties([first, second, third], [1, 3, 1], base, Options(density=0.5))
    assert weighted.tolist() == [12.5, 14.0, 10.0, 10.0]
    summed = ties([first, second, third], [1, 1, 1], base, Options(density=0.5, normalize=False))
    assert summed.tolist() == [16.0, 16.0, 10.0, 10.0]


@property_test
@given(seeds)
def test_ties_of_one_whole_model_is_that_model(seed):
    tensor, base = random(seed, 2)
    torch.testing.assert_close(ties([tensor], [1], base, Options(density=1)), tensor)


@property_test
@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.0 + 2**-23, 3e-40, 7.0]), min_size=1, max_size=60), densities)
def test_largest_is_the_head_of_a_stable_sort_without_zeros(values, density):
    count = max(1, int(density * len(values)))
    order = sorted(range(len(values)), key=lambda i: -values[i])[:count]
    expected = {i for i in order if values[i] > 0}
    assert set(largest(torch.tensor(values), count).nonzero()[:, 0].tolist()) == expected


def test_dare_keeps_the_share_and_restores_the_scale():
    base = torch.zeros(200_000)
    tensor = torch.ones(200_000)
    paper = dare_ties([tensor], [1], base, Options(key="0/x", density=0.25, normalize=False))
    assert paper.unique().tolist() == [0.0, 4.0]
    assert (paper > 0).float().mean().item() == pytest.approx(0.25, abs=0.005)
    norm = dare_ties([tensor], [1], base, Options(key="0/x", density=0.25, normalize=False, rescale="l1"))
    assert norm.sum().item() == pytest.approx(200_000, rel=1e-4)


def test_dare_draws_by_seed_parameter_and_model_only():
    base, tensors = torch.zeros(1000), [torch.ones(1000), torch.ones(1000)]

    def draw(key: str) -> torch.Tensor:
        return dare_ties(tensors, [1, 2], base, Options(key=key, density=0.5, normalize=False))

    assert torch.equal(draw("0/a"), draw("0/a"))
    assert not torch.equal(draw("0/a"), draw("1/a"))
    assert not torch.equal(draw("0/a"), draw("0/b"))
    assert draw("0/a").unique().tolist() == [0.0, 2.0, 4.0, 6.0]


@property_test
@given(seeds, densities, st.sampled_from(["1/p", "l1"]))
def test_dare_of_models_equal_to_the_base_is_the_base(seed, density, rescale):
    (base,) = random(seed, 1)
    assert torch.equal(dare_ties([base, base], [1, 1], base, Options("k", density, rescale=rescale)), base)


@pytest.mark.parametrize("name", METHODS)
def test_a_tensor_longer_than_a_block_is_merged_as_one(name):
    first, second, base = random(1, 3, length=2 * BLOCK + 7)
    weights, options = [1.0, 2.0], Options("k", density=1.0)
    merged = METHODS[name].merge([first, second], weights, base, options)
    if name in ("linear", "slerp"):
        cosine = float(torch.nn.functional.cosine_similarity(first.double(), second.double(), dim=0))
        angle = math.acos(cosine)
        shares = (1 / 3, 2 / 3) if name == "linear" else (math.sin(angle / 3), math.sin(2 * angle / 3))
        scale = 1.0 if name == "linear" else math.sin(angle)
        expected = (first * shares[0] + second * shares[1]) / scale
    else:
        deltas = torch.stack([first - base, second - base])
        agree = (deltas * torch.tensor([[1.0], [2.0]])).sum(0).sign() == deltas.sign()
        weighted = deltas * agree * torch.tensor([[1.0], [2.0]])
        expected = base + weighted.sum(0) / (agree * torch.tensor([[1.0], [2.0]])).sum(0)
    torch.testing.assert_close(merged, expected)


def test_blocks_cover_without_overlap():
    assert list(blocks(5, 2)) == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert list(blocks(0, 2)) == []
