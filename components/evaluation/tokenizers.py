"""The tokenizer of a model whose weights are elsewhere: its few files, fetched alone."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from components.common.artifacts import Reference
from components.common.errors import BadInput
from components.common.hub import fetch_all, look_up, split_source
from components.common.inputs import REFERENCE, Inputs, one
from components.common.model_files import CONFIG, read_json
from components.common.models import load_tokenizer
from components.common.store import files_of
from components.evaluation.settings import Answers

#: All files that tokenizers of transformers are made of, and the configuration, which says how many tokens a model reads.
FILES = (
    CONFIG,
    "added_tokens.json",
    "chat_template.jinja",
    "merges.txt",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)


@dataclass(frozen=True)
class OwnTokenizer:
    """A tokenizer, and the tokens that its model reads (None where its configuration does not say)."""

    tokenizer: Any
    context: int | None


def check_tokenizer(answers: Answers, inputs: Inputs) -> None:
    """Raise BadInput unless it is known where the tokenizer of the model that answers comes from."""
    if not (_source(answers) or inputs.get("model")):
        raise BadInput(
            "Multiple choice needs the tokenizer of the model that answers; name it as answers.tokenizer, for example "
            "hf://org/name."
        )


def load_own_tokenizer(answers: Answers, inputs: Inputs) -> OwnTokenizer:
    """The tokenizer that ``answers`` names; raises BadInput for one that is not there or whose files are unsafe."""
    with TemporaryDirectory() as temporary:
        folder = _bring(answers, inputs, Path(temporary))
        tokenizer = load_tokenizer(folder)
        context = read_json(folder / CONFIG).get("max_position_embeddings")
    return OwnTokenizer(tokenizer, context if isinstance(context, int) else None)


def _source(answers: Answers) -> str | None:
    return answers.tokenizer or (answers.served.source if answers.served else None)


def _bring(answers: Answers, inputs: Inputs, temporary: Path) -> Path:
    if source := _source(answers):
        snapshot = look_up(*split_source(source))
        fetch_all(snapshot, [name for name in snapshot.files if name in FILES], temporary)
        shutil.rmtree(temporary / ".cache", ignore_errors=True)
        return temporary
    folder = one(inputs, "model")
    if not (folder / REFERENCE).is_file():
        return folder
    for name, path in files_of(Reference.load(folder / REFERENCE), FILES).items():
        shutil.copyfile(path, temporary / name)
    return temporary
