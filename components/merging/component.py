"""The KFP shell of the merging stage: see task.py for what it does."""

from kfp import dsl

from components.common.shell import SHELL


@dsl.component(**SHELL)
def merging(
    name: str, code: str, configuration: str, merged: dsl.Output[dsl.Model],
    model_1: dsl.Input[dsl.Model], model_2: dsl.Input[dsl.Model] | None = None,
    model_3: dsl.Input[dsl.Model] | None = None, model_4: dsl.Input[dsl.Model] | None = None,
    model_5: dsl.Input[dsl.Model] | None = None, model_6: dsl.Input[dsl.Model] | None = None,
    model_7: dsl.Input[dsl.Model] | None = None, model_8: dsl.Input[dsl.Model] | None = None,
    base: dsl.Input[dsl.Model] | None = None,
) -> None:  # fmt: skip
    """Merge the weights of models into one."""
    from components.common.execution import execute

    models = [model_1, model_2, model_3, model_4, model_5, model_6, model_7, model_8]
    execute("merging", name, code, configuration, {"models": models, "base": base}, merged)
