from collections import Counter
from pathlib import Path

import pytest
from pydantic import ValidationError
from transformers import AutoTokenizer

from components.common.models import conversation
from components.common.records import PROMPT, QUESTION, read_records
from components.miniature.facts import Fact, split_of
from components.miniature.questions import BENCHMARKS, held_out
from components.miniature.task import Config, run
from components.miniature.world import read_facts
from tests.unit.miniature.conftest import LANGUAGES, build

COUNTS = dict.fromkeys(BENCHMARKS, 5)


def read_questions(world: Path) -> dict[str, list[dict[str, object]]]:
    return {name: read_records(world / f"{name}.parquet", QUESTION) for name in BENCHMARKS}


def test_prompts_come_without_the_truth(world: Path) -> None:
    prompts = read_records(world / "prompts.parquet", PROMPT)
    assert set(prompts[0]) == {"id", "language", "prompt"}
    assert Counter(row["language"] for row in prompts) == dict.fromkeys(LANGUAGES, 20)
    assert len({row["id"] for row in prompts}) == len(prompts)


def test_training_prompts_and_questions_are_disjoint(world: Path) -> None:
    training = {fact.id for fact in read_facts(world, "training")}
    probes = {fact.id for fact in read_facts(world, "probes")}
    prompts = {row["id"] for row in read_records(world / "prompts.parquet")}
    questions = [row["id"] for rows in read_questions(world).values() for row in rows]
    assert len(set(questions)) == len(questions)
    assert not training & prompts
    assert not set(questions) & (training | prompts | probes)


def test_questions_have_their_truth(world: Path) -> None:
    questions = read_questions(world)
    for row in questions["facts_choice"]:
        assert len(set(row["options"])) == 4
        assert row["answer"] in range(4)
        assert row["reference"] is None
    assert len({row["answer"] for row in questions["facts_choice"]}) == 4
    for name in ("arena", "facts_exact", "facts_chrf"):
        assert all(row["reference"] and row["options"] is None for row in questions[name])


def test_one_quantity_in_two_languages_is_one_group(facts: list[Fact]) -> None:
    groups: dict[str, set[str]] = {}
    for fact in facts:
        groups.setdefault(fact.group, set()).add(fact.language)
    assert groups["date-2024-1-2"] >= {"de", "ja"} if "date-2024-1-2" in groups else True
    assert max(map(len, groups.values())) == 23


def test_a_new_draw_asks_other_questions_of_the_same_split(facts: list[Fact]) -> None:
    pool = [fact for fact in facts if split_of(fact.language, fact.task, fact.key) == "test"]
    first, again, other = (held_out(pool, COUNTS, seed) for seed in (1, 1, 2))
    assert first == again
    ids = [{row["id"] for row in questions["arena"]} for questions in (first, other)]
    assert len(ids[0] & ids[1]) < len(ids[0]) / 2


def test_the_world_is_the_same_every_time(world: Path, tmp_path: Path) -> None:
    settings = {"languages": LANGUAGES, "prompts": 20, "vocabulary": 600}
    build(tmp_path / "again", {}, build="world", world=settings)
    for path in (path for path in world.rglob("*") if path.is_file()):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(world)).read_bytes(), path


def test_tokenizer_has_ayas_turns_and_loses_nothing(world: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(world / "tokenizer")
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id) == (0, 5)
    assert tokenizer.eos_token == "<|END_OF_TURN_TOKEN|>"
    turns = tokenizer.apply_chat_template(conversation("12 km?"), add_generation_prompt=True, tokenize=False)
    assert turns == (
        "<BOS_TOKEN><|START_OF_TURN_TOKEN|><|USER_TOKEN|>12 km?<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"
    )
    for text in ("5. März 2024", "२० किलोमीटर", "2024年3月5日", "🙂 unseen"):
        assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_unknown_languages_are_refused() -> None:
    with pytest.raises(ValidationError, match="unknown language"):
        Config.model_validate({"build": "world", "world": {"languages": ["de", "xx"]}})


def test_a_model_needs_a_world(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="world"):
        run(Config(build="base"), {}, tmp_path)
