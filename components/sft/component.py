"""The KFP shell of the sft stage: see task.py for what it does."""

from kfp import dsl

from components.common.shell import SHELL


@dsl.component(**SHELL)
def sft(
    name: str,
    code: str,
    configuration: str,
    model: dsl.Input[dsl.Model],
    examples: dsl.Input[dsl.Dataset],
    trained: dsl.Output[dsl.Model],
) -> None:
    """Fine-tune a model on the routed completions, for one group of languages."""
    from components.common.execution import execute

    execute("sft", name, code, configuration, {"model": model, "examples": examples}, trained)
