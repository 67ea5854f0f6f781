"""How a model writes, beside how well: in the asked script, how long, cut off or finished.

Measured over the open-ended answers, those of the pairwise benchmarks: a chosen letter or a translation says nothing of
it.
"""

from collections.abc import Sequence

from components.common.language_check import wrong_script
from components.common.records import Row
from components.common.statistics import Bootstrap, ratio
from components.evaluation.results import Entry, mean_entry


def consistent(row: Row) -> float:
    """1 when an answer is not empty and in the script of its language, else 0.

    A script is all that is looked at: English in place of German passes, English in place of Greek does not.
    """
    return float(bool(row["answer"].strip()) and not wrong_script(row["answer"], row["language"]))


def behaviour(answers: Sequence[Row], bootstrap: Bootstrap) -> dict[str, Entry]:
    """``language_consistency``, ``truncated`` (shares) and ``mean_length`` (characters); empty without answers.

    An answer is truncated that the model did not end itself.
    """
    if not answers:
        return {}
    return {
        "language_consistency": mean_entry([consistent(row) for row in answers], answers, bootstrap),
        "mean_length": mean_entry([len(row["answer"]) for row in answers], answers, bootstrap, figure=ratio),
        "truncated": mean_entry([row["finish_reason"] != "stop" for row in answers], answers, bootstrap),
    }
