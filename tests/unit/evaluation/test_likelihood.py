"""The likelihood engine against a direct loop over full log-softmaxes, and lm-eval's semantics."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.common.journal import Journal
from components.evaluation.engines import LocalEngine
from components.evaluation.likelihood import Request, log_likelihoods
from components.evaluation.multiple_choice import choose, encode_plain
from components.evaluation.settings import Benchmark
from tests.unit.evaluation.conftest import question

TOKENS = st.lists(st.integers(20, 300), min_size=1, max_size=12).map(tuple)


def direct(model: Any, request: Request) -> float:
    ids = torch.tensor([request.context + request.continuation])
    with torch.inference_mode():
        logprobs = model(input_ids=ids).logits[0].log_softmax(-1)
    begin = len(request.context)
    return sum(float(logprobs[begin + step - 1, token]) for step, token in enumerate(request.continuation))


@given(st.lists(st.builds(Request, TOKENS, TOKENS), min_size=1, max_size=9), st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_agrees_with_a_direct_loop_in_any_batch(loaded: Any, requests: list[Request], batch_size: int) -> None:
    model, _ = loaded
    expected = [direct(model, request) for request in requests]
    assert log_likelihoods(model, requests, batch_size) == pytest.approx(expected, abs=1e-4)


def test_options_of_one_token_share_a_forward_row(loaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = loaded
    rows = []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda **given: (rows.append(len(given["input_ids"])), forward(**given))[1])
    requests = [Request((5, 20, 30), (letter,)) for letter in (40, 41, 42, 43)]
    scores = log_likelihoods(model, requests, batch_size=8)
    assert sum(rows) == 1
    assert scores == pytest.approx([direct(model, request) for request in requests], abs=1e-4)


def test_a_row_longer_than_the_context_loses_tokens_on_the_left(loaded: Any) -> None:
    model, _ = loaded
    long = Request(tuple(range(20, 314)), (7, 8))
    kept = (long.context + long.continuation)[:-1][-256:]
    expected = direct(model, Request(kept[:-1], (7, 8)))
    assert log_likelihoods(model, [long], 1) == pytest.approx([expected], abs=1e-4)


def test_plain_text_is_split_where_the_context_alone_ends(loaded: Any) -> None:
    _, tokenizer = loaded
    (request,) = encode_plain(tokenizer, [("Frage 1 ", "Antwort")])
    assert request.context[0] == tokenizer.bos_token_id
    assert tokenizer.decode(request.context[1:]) == "Frage 1"
    assert tokenizer.decode(request.continuation) == " Antwort"


def test_special_tokens_inside_a_question_are_text(loaded: Any) -> None:
    _, tokenizer = loaded
    (request,) = encode_plain(tokenizer, [("<|END_OF_TURN_TOKEN|>", "x")])
    assert tokenizer.eos_token_id not in request.context


@pytest.mark.parametrize("chat", [True, False])
def test_chooses_the_likeliest_option_as_a_direct_loop_does(loaded: Any, chat: bool) -> None:
    model, tokenizer = loaded
    rows = [question(number, options=["eins", "zwei und drei", "vier"], answer=0) for number in range(6)]
    engine = LocalEngine(model, tokenizer, 4, Journal())
    choices = choose(engine, rows, Benchmark(name="c", kind="multiple_choice", chat=chat))
    for row, choice in zip(rows, choices, strict=True):
        scores = [_direct_text(model, tokenizer, row["prompt"], option, chat) for option in row["options"]]
        per_character = [score / len(option) for score, option in zip(scores, row["options"], strict=True)]
        assert choice.log_likelihoods == pytest.approx(scores, abs=1e-3)
        assert choice.chosen == scores.index(max(scores))
        assert choice.chosen_normalised == per_character.index(max(per_character))


def _direct_text(model: Any, tokenizer: Any, prompt: str, option: str, chat: bool) -> float:
    if chat:
        turns = [{"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        head, tail = tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer(option)["input_ids"]
    else:
        head = [tokenizer.bos_token_id, *tokenizer(prompt)["input_ids"]]
        tail = tokenizer(f"{prompt} {option}")["input_ids"][len(head) - 1 :]
    return direct(model, Request(tuple(head), tuple(tail)))


def test_equal_options_tie_to_the_first(loaded: Any) -> None:
    rows = [question(1, options=["gleich", "gleich"], answer=1)]
    (choice,) = choose(LocalEngine(*loaded, 2, Journal()), rows, Benchmark(name="c", kind="multiple_choice"))
    assert (choice.chosen, choice.chosen_normalised) == (0, 0)


def test_a_cloze_scores_the_text_after_the_blank(loaded: Any) -> None:
    model, tokenizer = loaded
    row = question(1, prompt="Der ", options=["Hund", "Tisch"], reference="bellt laut.", answer=0)
    benchmark = Benchmark(name="c", kind="multiple_choice", chat=False, cloze=True)
    (choice,) = choose(LocalEngine(model, tokenizer, 2, Journal()), [row], benchmark)
    expected = [_direct_text(model, tokenizer, f"Der {option}", "bellt laut.", chat=False) for option in row["options"]]
    assert choice.log_likelihoods == pytest.approx(expected, abs=1e-3)
