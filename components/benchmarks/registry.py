"""All data sets by name."""

from components.benchmarks import (
    aya_redteaming,
    dolly,
    flores,
    global_mmlu,
    include,
    language_confusion,
    m_arena_hard,
    mgsm,
    xcopa,
    xstory_cloze,
    xwinograd,
)
from components.benchmarks.dataset import Dataset

_ALL: tuple[Dataset, ...] = (
    m_arena_hard.M_ARENA_HARD,
    m_arena_hard.M_ARENA_HARD_V2,
    dolly.DOLLY_HUMAN_EDITED,
    dolly.DOLLY_MACHINE_TRANSLATED,
    xwinograd.XWINOGRAD,
    xcopa.XCOPA,
    xstory_cloze.XSTORY_CLOZE,
    global_mmlu.GLOBAL_MMLU,
    include.INCLUDE,
    mgsm.MGSM,
    flores.FROM_ENGLISH,
    flores.TO_ENGLISH,
    language_confusion.LANGUAGE_CONFUSION_MONOLINGUAL,
    language_confusion.LANGUAGE_CONFUSION_CROSSLINGUAL,
    aya_redteaming.AYA_REDTEAMING,
)
DATASETS = {dataset.name: dataset for dataset in _ALL}
