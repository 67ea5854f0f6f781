"""The KFP shell of the generation stage: see task.py for what it does."""

from kfp import dsl

from components.common.shell import SHELL


@dsl.component(**SHELL)
def generation(
    name: str,
    code: str,
    configuration: str,
    prompts: dsl.Input[dsl.Dataset],
    completions: dsl.Output[dsl.Dataset],
    model: dsl.Input[dsl.Model] | None = None,
    translator: dsl.Input[dsl.Model] | None = None,
    guard: dsl.Input[dsl.Metrics] | None = None,
) -> None:
    """Sample completions of prompts from one teacher or from the policy."""
    from components.common.execution import execute

    inputs = {"prompts": prompts, "model": model, "translator": translator, "guard": guard}
    execute("generation", name, code, configuration, inputs, completions)
