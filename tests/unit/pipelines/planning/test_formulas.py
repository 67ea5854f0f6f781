"""The formulas against figures worked out by hand, and what must hold for any figures."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.sft.task import Config
from pipelines.planning.formulas import Decoding, forward_flops, mean_and_longest, trained_rows, training_flops
from pipelines.planning.shapes import Shape

BILLION = Shape(stated=1e9)
positive = st.floats(1, 1e9)


def test_two_flops_a_parameter_forward_and_six_to_train():
    assert forward_flops(BILLION, 10) == 2e10
    assert training_flops(BILLION, 10, recomputed=False) == 6e10
    assert training_flops(BILLION, 10, recomputed=True) == 8e10


def test_sampling_reads_the_weights_once_per_batch_and_step():
    # 130 rows are 3 batches of 64; each goes on for 30 steps; 10^9 weights of 2 bytes; no cache is known
    assert Decoding(130, prompt=5, mean=10, longest=30, batch=64).bytes(BILLION, 2) == 3 * 30 * 2e9


def test_sampling_reads_each_rows_cache_once_per_token():
    shape = Shape(layers=2, kv_heads=3, head_size=4)  # 2 x 2 bytes x 2 x 3 x 4 = 96 bytes a token
    # 10 rows write 8 tokens each; on the way the cache holds 6 tokens of prompt and 4 of the answer on average
    assert Decoding(10, prompt=6, mean=8, longest=8, batch=10).bytes(shape, 2) == 10 * 8 * (6 + 4) * 96


def test_the_cache_of_a_batch_is_that_of_its_rows():
    shape = Shape(layers=2, kv_heads=3, head_size=4)
    assert Decoding(1000, prompt=6, mean=8, longest=20, batch=10).cache(shape) == 10 * (6 + 8) * 96
    assert Decoding(4, prompt=6, mean=8, longest=20, batch=10).cache(shape) == 4 * (6 + 8) * 96


def test_a_completion_is_cut_at_the_recipes_limit():
    assert mean_and_longest(100, 3, limit=2048) == (100, 300)
    assert mean_and_longest(100, 3, limit=256) == (100, 256)
    assert mean_and_longest(100, 3, limit=48) == (48, 48)


@pytest.mark.parametrize(
    ("length", "rows", "expected"),
    [({"epochs": 1}, 100, 128), ({"epochs": 2}, 100, 256), ({"epochs": 0.1}, 100, 64), ({"steps": 7}, 100, 448)],
)
def test_training_goes_through_whole_batches(length, rows, expected):
    config = Config(learning_rate=1e-3, global_batch_size=64, **length)
    assert trained_rows(config, rows) == expected
    assert trained_rows(config, 0) == 0


@given(rows=positive, mean=positive, more=st.floats(1, 1e3), batch=st.integers(1, 512))
def test_more_rows_or_longer_ones_never_take_less(rows, mean, more, batch):
    shape = Shape(2, 8, 16, 2, 2, 4, 100)
    less = Decoding(rows, 10, mean, mean * 3, batch)
    for bigger in (
        Decoding(rows * more, 10, mean, mean * 3, batch),
        Decoding(rows, 10, mean * more, mean * more * 3, batch),
    ):
        assert bigger.flops(shape) >= less.flops(shape)
        assert bigger.bytes(shape, 2) >= less.bytes(shape, 2)


@given(tokens=positive, split=st.floats(0.01, 0.99))
def test_work_that_is_split_adds_up(tokens, split):
    parts = [forward_flops(BILLION, tokens * split), forward_flops(BILLION, tokens * (1 - split))]
    assert sum(parts) == pytest.approx(forward_flops(BILLION, tokens))
