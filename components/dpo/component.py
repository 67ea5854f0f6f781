"""The KFP shell of the dpo stage: see task.py for what it does."""

from kfp import dsl

from components.common.shell import SHELL


@dsl.component(**SHELL)
def dpo(
    name: str,
    code: str,
    configuration: str,
    model: dsl.Input[dsl.Model],
    pairs: dsl.Input[dsl.Dataset],
    trained: dsl.Output[dsl.Model],
) -> None:
    """Train a model on preference pairs, against itself as the reference."""
    from components.common.execution import execute

    execute("dpo", name, code, configuration, {"model": model, "pairs": pairs}, trained)
