"""The KFP shell of the benchmarks stage: see task.py for what it does."""

from kfp import dsl

from components.common.shell import SHELL


@dsl.component(**SHELL)
def benchmarks(name: str, code: str, configuration: str, questions: dsl.Output[dsl.Dataset]) -> None:
    """Turn published data sets into the questions of the evaluation, once."""
    from components.common.execution import execute

    execute("benchmarks", name, code, configuration, {}, questions)
