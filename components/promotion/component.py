"""The KFP shell of the promotion stage: see task.py for what it does."""

from kfp import dsl

from components.common.shell import SHELL


@dsl.component(**SHELL)
def gate(
    name: str, code: str, configuration: str, evaluation: dsl.Input[dsl.Metrics], decision: dsl.Output[dsl.Metrics]
) -> None:
    """Decide by rules whether a model may be promoted."""
    from components.common.execution import execute

    execute("promotion", name, code, configuration, {"evaluation": evaluation}, decision)


@dsl.component(**SHELL)
def accept(
    name: str, code: str, configuration: str, before: dsl.Input[dsl.Model], after: dsl.Input[dsl.Model],
    evaluation: dsl.Input[dsl.Metrics], accepted: dsl.Output[dsl.Model],
) -> None:  # fmt: skip
    """Hand on the model after a round, or the one before it where the round regressed."""
    from components.common.execution import execute

    execute("promotion", name, code, configuration, {"models": [before, after], "evaluation": evaluation}, accepted)


@dsl.component(**SHELL)
def register(
    name: str, code: str, configuration: str, model: dsl.Input[dsl.Model], gate: dsl.Input[dsl.Metrics],
    evaluation: dsl.Input[dsl.Metrics], registration: dsl.Output[dsl.Artifact],
    origin_1: dsl.Input[dsl.Artifact] | None = None, origin_2: dsl.Input[dsl.Artifact] | None = None,
    origin_3: dsl.Input[dsl.Artifact] | None = None,
) -> None:  # fmt: skip
    """Register a model that passed the gate, with its lineage, and move the alias."""
    from components.common.execution import execute

    origins = [origin_1, origin_2, origin_3]
    inputs = {"model": model, "gate": gate, "evaluation": evaluation, "origins": origins}
    execute("promotion", name, code, configuration, inputs, registration)
