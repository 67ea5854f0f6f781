from pathlib import Path

from components.common.artifacts import Reference
from components.common.origins import origins


def refer(folder: Path, **metadata: str | int) -> Path:
    Reference("weights", "key", "s3://bucket/key", "digest", 1, metadata).save(folder / "reference.json")
    return folder


def test_weights_and_questions_say_their_commits_and_what_was_made_here_says_none(tmp_path):
    base = refer(tmp_path / "base", source="hf://org/base@v1", commit="a" * 40, license="MIT")
    made = refer(tmp_path / "made", loss="0.5", examples=3)
    asked = {"mgsm": 3, "mgsm.source": "hf://juletxara/mgsm@b", "flores.source": "hf://org/flores@c"}
    questions = refer(tmp_path / "questions", **asked)
    twice = refer(tmp_path / "reward", source="hf://org/base", commit="a" * 40)
    found = origins({"origins": [base, made, questions, twice]})
    assert found == [f"hf://org/base@{'a' * 40}", "hf://org/flores@c", "hf://juletxara/mgsm@b"]
    assert origins({}) == []
