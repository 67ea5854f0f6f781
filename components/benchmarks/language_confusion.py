"""The Language Confusion Benchmark (arXiv 2406.20052): does a model answer in the language that it is asked for?

Monolingual: a request in the language. Cross-lingual: a request in English for an answer in the language. The 15
languages of the benchmark; answers are looked at line by line and word by word (components/evaluation/confusion.py).

The prompts are on GitHub, not on the hub. The commit is one whose ``test_sets`` lie there as CSV files; later ones keep them
in an archive, so that fewer crawlers find them. The tables below follow the repository's README. Not tried against
GitHub: copies of most of the files have been seen, of okapi/hi and okapi/ru (monolingual) only that README's word.
"""

from collections.abc import Mapping

from components.benchmarks.dataset import Dataset, Fetch, Part, column
from components.common.records import Row

REPOSITORY = "for-ai/language-confusion"
COMMIT = "6e48812baa5e3a0b82433359065efe5a106638b1"
TARGETS = ("ar", "de", "es", "fr", "hi", "id", "it", "ja", "ko", "pt", "ru", "tr", "vi", "zh")
MONOLINGUAL = {
    "aya": ("ar", "en", "pt", "tr", "zh"),
    "dolly": ("ar", "es", "fr", "hi", "ru"),
    "native": ("es", "fr", "ja", "ko"),
    "okapi": ("ar", "de", "en", "es", "fr", "hi", "id", "it", "pt", "ru", "vi", "zh"),
}
CROSSLINGUAL = dict.fromkeys(("complex_prompts", "okapi", "sharegpt"), TARGETS)


def _dataset(task: str, sources: Mapping[str, tuple[str, ...]], parallel: bool) -> Dataset:
    """``parallel``: a prompt's number means the same request in every language."""
    folders = {source: f"test_sets/{task}/{source}" for source in sources}

    def parts(code: str) -> list[Part]:
        return [(folders[source], code) for source, codes in sources.items() if code in codes]

    def build(code: str, fetch: Fetch) -> list[Row]:
        return [
            _question(row, code, f"{configuration.rpartition('/')[2]}/{number}", parallel)
            for configuration, split in parts(code)
            for number, row in enumerate(fetch(configuration, split))
        ]

    codes = sorted({code for each in sources.values() for code in each})
    return Dataset(f"language_confusion_{task}", REPOSITORY, {code: code for code in codes}, parts, build, COMMIT)


def _question(row: Row, code: str, request: str, parallel: bool) -> Row:
    identifier = f"{request}/{code}"
    group = request if parallel else identifier
    return {"id": identifier, "group": group, "language": code, "prompt": column(row, "prompt")}


LANGUAGE_CONFUSION_MONOLINGUAL = _dataset("monolingual", MONOLINGUAL, parallel=False)
LANGUAGE_CONFUSION_CROSSLINGUAL = _dataset("crosslingual", CROSSLINGUAL, parallel=True)
