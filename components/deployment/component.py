"""The KFP shell of the deployment stage: see task.py for what it does."""

from kfp import dsl

from components.common.shell import SHELL


@dsl.component(**SHELL)
def deployment(
    name: str, code: str, configuration: str, model: dsl.Input[dsl.Model],
    registration: dsl.Input[dsl.Artifact], endpoint: dsl.Output[dsl.Artifact],
) -> None:  # fmt: skip
    """Deploy a registered model, wait until it is ready, and probe it."""
    from components.common.execution import execute

    execute("deployment", name, code, configuration, {"model": model, "registration": registration}, endpoint)
