"""How the public benchmarks are scored (components/benchmarks says what they ask).

The likelihood benchmarks read plain text, as in lm-eval; answers are written in the chat format of the model.
"""

from components.evaluation.settings import Benchmark

_ALL = (
    Benchmark(name="m_arena_hard", kind="pairwise", max_new_tokens=2048),
    Benchmark(name="m_arena_hard_v2", kind="pairwise", max_new_tokens=2048),
    Benchmark(name="dolly_human_edited", kind="pairwise", max_new_tokens=1024),
    Benchmark(name="dolly_machine_translated", kind="pairwise", max_new_tokens=1024),
    Benchmark(name="xwinograd", kind="multiple_choice", chat=False, cloze=True, average="languages"),
    Benchmark(name="xcopa", kind="multiple_choice", chat=False, average="languages"),
    Benchmark(name="xstory_cloze", kind="multiple_choice", chat=False, average="languages"),
    Benchmark(name="global_mmlu", kind="multiple_choice", chat=False, average="languages"),
    Benchmark(name="include", kind="multiple_choice", chat=False, average="languages"),
    Benchmark(name="mgsm", kind="exact_match", extract="number", average="languages", max_new_tokens=512),
    Benchmark(name="flores_from_english", kind="chrf", average="languages", max_new_tokens=512),
    Benchmark(name="flores_to_english", kind="chrf", average="languages", max_new_tokens=512),
    Benchmark(
        name="language_confusion_monolingual", kind="language_confusion", average="languages", max_new_tokens=100
    ),
    Benchmark(
        name="language_confusion_crosslingual", kind="language_confusion", average="languages", max_new_tokens=100
    ),
    Benchmark(
        name="aya_redteaming",
        kind="safety",
        benign="dolly_machine_translated",
        average="languages",
        max_new_tokens=512,
    ),
)
PUBLIC = {benchmark.name: benchmark for benchmark in _ALL}
