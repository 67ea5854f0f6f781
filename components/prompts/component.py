"""The KFP shell of the prompts stage: see task.py for what it does."""

from kfp import dsl

from components.common.shell import SHELL


@dsl.component(**SHELL)
def prompts(
    name: str,
    code: str,
    configuration: str,
    prepared: dsl.Output[dsl.Dataset],
    world: dsl.Input[dsl.Dataset] | None = None,
    questions: dsl.Input[dsl.Dataset] | None = None,
) -> None:
    """Load prompts, check, deduplicate and decontaminate them, and deal them out in portions."""
    from components.common.execution import execute

    execute("prompts", name, code, configuration, {"world": world, "questions": questions or world}, prepared)
