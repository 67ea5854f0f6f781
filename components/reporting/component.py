"""The KFP shell of the reporting stage: see task.py for what it does."""

from kfp import dsl

from components.common.shell import SHELL


@dsl.component(**SHELL)
def reporting(
    name: str, code: str, configuration: str, arbitrage: dsl.Input[dsl.Dataset],
    report: dsl.Output[dsl.Artifact], page: dsl.Output[dsl.HTML], card: dsl.Output[dsl.Markdown],
    step_1: dsl.Input[dsl.Metrics], step_2: dsl.Input[dsl.Metrics] | None = None,
    step_3: dsl.Input[dsl.Metrics] | None = None, step_4: dsl.Input[dsl.Metrics] | None = None,
    step_5: dsl.Input[dsl.Metrics] | None = None, step_6: dsl.Input[dsl.Metrics] | None = None,
    step_7: dsl.Input[dsl.Metrics] | None = None, step_8: dsl.Input[dsl.Metrics] | None = None,
    step_9: dsl.Input[dsl.Metrics] | None = None, step_10: dsl.Input[dsl.Metrics] | None = None,
    step_11: dsl.Input[dsl.Metrics] | None = None, step_12: dsl.Input[dsl.Metrics] | None = None,
    step_13: dsl.Input[dsl.Metrics] | None = None, step_14: dsl.Input[dsl.Metrics] | None = None,
    step_15: dsl.Input[dsl.Metrics] | None = None, step_16: dsl.Input[dsl.Metrics] | None = None,
    drift_1: dsl.Input[dsl.Dataset] | None = None, drift_2: dsl.Input[dsl.Dataset] | None = None,
    drift_3: dsl.Input[dsl.Dataset] | None = None, drift_4: dsl.Input[dsl.Dataset] | None = None,
    drift_5: dsl.Input[dsl.Dataset] | None = None, gate: dsl.Input[dsl.Metrics] | None = None,
    origin_1: dsl.Input[dsl.Artifact] | None = None, origin_2: dsl.Input[dsl.Artifact] | None = None,
    origin_3: dsl.Input[dsl.Artifact] | None = None,
) -> None:  # fmt: skip
    """Write the report and the model card of a run: ``report`` refers to them, ``page`` and ``card`` are what the UI shows."""
    from components.common.execution import execute

    steps = [step_1, step_2, step_3, step_4, step_5, step_6, step_7, step_8, step_9, step_10, step_11, step_12]
    inputs = {"evaluations": [*steps, step_13, step_14, step_15, step_16], "arbitrage": arbitrage, "gate": gate}
    inputs |= {"drift": [drift_1, drift_2, drift_3, drift_4, drift_5], "origins": [origin_1, origin_2, origin_3]}
    execute("reporting", name, code, configuration, inputs, report, {"report.html": page, "model_card.md": card})
