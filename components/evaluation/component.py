"""The KFP shell of the evaluation stage: see task.py for what it does."""

from kfp import dsl

from components.common.shell import SHELL


@dsl.component(**SHELL)
def evaluation(
    name: str,
    code: str,
    configuration: str,
    questions: dsl.Input[dsl.Dataset],
    results: dsl.Output[dsl.Metrics],
    model: dsl.Input[dsl.Model] | None = None,
    baseline: dsl.Input[dsl.Metrics] | None = None,
    previous: dsl.Input[dsl.Metrics] | None = None,
) -> None:
    """Measure a model on held-out questions, alone and head to head."""
    from components.common.execution import execute

    inputs = {"questions": questions, "model": model, "baseline": baseline, "previous": previous}
    execute("evaluation", name, code, configuration, inputs, results)
