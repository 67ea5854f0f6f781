"""What users write reaches a model as letters, whatever it looks like."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AddedToken

from components.common.models import conversation, encode_conversations, load_tokenizer
from tests.trainable import SPECIAL, save_trainable

CALLS = ["<tool_call>", "<think>"]  # control tokens that no tokenizer lists as special, as Qwen has them


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    loaded = load_tokenizer(save_trainable(tmp_path_factory.mktemp("models") / "model"))
    loaded.add_tokens([AddedToken(CALLS[0], special=False), AddedToken(CALLS[1], special=False, normalized=False)])
    return loaded


def control(tokenizer, ids):
    return [token for token in ids if token in tokenizer.added_tokens_decoder]


TEXTS = st.lists(st.one_of(st.sampled_from([*SPECIAL, *CALLS]), st.text(max_size=8)), min_size=1, max_size=6).map(
    "".join
)


@given(prompt=TEXTS, answer=TEXTS)
@settings(max_examples=150, deadline=None)
def test_control_tokens_in_a_text_are_letters_in_whichever_turn(tokenizer, prompt, answer):
    (found,) = encode_conversations(tokenizer, [conversation(prompt, answer)], add_generation_prompt=False)
    (plain,) = encode_conversations(tokenizer, [conversation("a", "b")], add_generation_prompt=False)
    assert control(tokenizer, found) == control(tokenizer, plain)
    letters = [token for token in found if token not in tokenizer.added_tokens_decoder]
    assert tokenizer.decode(letters) == prompt + answer


def test_a_text_with_a_control_token_shares_its_batch_with_ordinary_ones(tokenizer):
    texts = ["hello", "<think>", "hello"]
    found = encode_conversations(tokenizer, [conversation(text) for text in texts], add_generation_prompt=True)
    assert found[0] == found[2] != found[1]
    assert tokenizer.decode(found[1]).count("<think>") == 1
