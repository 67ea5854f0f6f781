"""The KFP shell of the scoring stage: see task.py for what it does."""

from kfp import dsl

from components.common.shell import SHELL


@dsl.component(**SHELL)
def scoring(
    name: str, code: str, configuration: str, reward: dsl.Input[dsl.Model], scored: dsl.Output[dsl.Dataset],
    completions_1: dsl.Input[dsl.Dataset], completions_2: dsl.Input[dsl.Dataset] | None = None,
    completions_3: dsl.Input[dsl.Dataset] | None = None, completions_4: dsl.Input[dsl.Dataset] | None = None,
    completions_5: dsl.Input[dsl.Dataset] | None = None, completions_6: dsl.Input[dsl.Dataset] | None = None,
    completions_7: dsl.Input[dsl.Dataset] | None = None, completions_8: dsl.Input[dsl.Dataset] | None = None,
) -> None:  # fmt: skip
    """Score completions with the reward model."""
    from components.common.execution import execute

    completions = [completions_1, completions_2, completions_3, completions_4]
    completions += [completions_5, completions_6, completions_7, completions_8]
    execute("scoring", name, code, configuration, {"reward": reward, "completions": completions}, scored)
