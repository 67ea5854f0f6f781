from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from components.common.models import load_causal_lm
from serving.batch import Batch
from serving.sampling import Sampling, choose

PROMPTS = [(5, 20, 30, 40), (5, 21), (5, 22, 32, 42, 52, 62), (5, 20, 30, 40)]
LENGTHS = [6, 3, 9, 5]


@pytest.fixture(scope="module")
def model(model_folder: Path):
    return load_causal_lm(model_folder)[0]


def alone(model, prompt: tuple[int, ...], length: int) -> list[int]:
    """Greedy continuation by recomputing everything at every step."""
    tokens = list(prompt)
    with torch.inference_mode():
        for _ in range(length):
            tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
    return tokens[len(prompt) :]


def test_rows_that_come_and_go_are_answered_as_if_alone(model) -> None:
    batch, rows, answers = Batch(model), [], {number: [] for number in range(len(PROMPTS))}
    arrivals = {0: [0, 1], 2: [2], 4: [3]}
    for step in range(14):
        ended = [place for place, row in enumerate(rows) if len(answers[row]) == LENGTHS[row]]
        if ended:
            kept = [place for place in range(len(rows)) if place not in ended]
            batch.keep(kept)
            rows = [rows[place] for place in kept]
        if rows:
            logits = batch.step([answers[row][-1] for row in rows])
            for row, token in zip(rows, logits.argmax(-1).tolist(), strict=True):
                answers[row].append(token)
        for row, token in zip(new := arrivals.get(step, []), _first(batch, new), strict=True):
            answers[row].append(token)
        rows += new
    assert answers == {n: alone(model, PROMPTS[n], LENGTHS[n]) for n in range(len(PROMPTS))}


def _first(batch: Batch, rows: list[int]) -> list[int]:
    return batch.add([PROMPTS[row] for row in rows]).argmax(-1).tolist() if rows else []


def test_an_emptied_batch_takes_rows_again(model) -> None:
    batch = Batch(model)
    first = batch.add(PROMPTS[:2])
    batch.keep([])
    assert torch.equal(batch.add(PROMPTS[:2]), first)


def test_temperature_zero_is_greedy_beside_a_sampled_row() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0], [0.0, 3.0, 1.0]])
    assert choose(logits, [Sampling(1, temperature=0), Sampling(1, temperature=1)], [0.99, 0.999]) == [1, 2]


@given(st.floats(0, 1, exclude_max=True), st.floats(0.01, 1), st.floats(0.1, 2))
def test_a_sampled_token_is_always_in_the_nucleus(uniform: float, top_p: float, temperature: float) -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0, -40.0]])
    probabilities = torch.softmax(logits[0] / temperature, -1)
    (token,) = choose(logits, [Sampling(1, temperature, top_p)], [uniform])
    assert float(probabilities[:token].sum()) < top_p + 1e-6


def test_frequencies_follow_the_probabilities() -> None:
    logits = torch.log(torch.tensor([[0.1, 0.6, 0.3]])).repeat(1000, 1)
    tokens = choose(logits, [Sampling(1)] * 1000, [number / 1000 for number in range(1000)])
    assert [tokens.count(token) for token in range(3)] == pytest.approx([100, 600, 300], abs=2)


def test_choices_do_not_depend_on_the_other_rows() -> None:
    logits = torch.randn(8, 50, generator=torch.Generator().manual_seed(1))
    settings, uniforms = [Sampling(1, 0.7, 0.9)] * 8, [number / 8 for number in range(8)]
    together = choose(logits, settings, uniforms)
    assert together == [choose(logits[i : i + 1], settings[:1], uniforms[i : i + 1])[0] for i in range(8)]
