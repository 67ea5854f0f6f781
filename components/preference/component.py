"""The KFP shell of the preference stage: see task.py for what it does."""

from kfp import dsl

from components.common.shell import SHELL


@dsl.component(**SHELL)
def preference(
    name: str,
    code: str,
    configuration: str,
    pairs: dsl.Output[dsl.Dataset],
    scored: dsl.Input[dsl.Dataset] | None = None,
    in_language: dsl.Input[dsl.Dataset] | None = None,
    translated: dsl.Input[dsl.Dataset] | None = None,
) -> None:
    """Make pairs of a chosen and a rejected completion from scored ones."""
    from components.common.execution import execute

    execute("preference", name, code, configuration, {"scored": scored, "contrast": [in_language, translated]}, pairs)
