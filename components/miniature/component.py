"""The KFP shells of the miniature: its world is a data set, everything else that it builds is a model."""

from kfp import dsl

from components.common.shell import SHELL


@dsl.component(**SHELL)
def world(name: str, code: str, configuration: str, built: dsl.Output[dsl.Dataset]) -> None:
    """Build the miniature's world: prompts, held-out questions and the tokenizer."""
    from components.common.execution import execute

    execute("miniature", name, code, configuration, {}, built)


@dsl.component(**SHELL)
def miniature(
    name: str, code: str, configuration: str, world: dsl.Input[dsl.Dataset], built: dsl.Output[dsl.Model],
    base: dsl.Input[dsl.Model] | None = None, teacher_1: dsl.Input[dsl.Model] | None = None,
    teacher_2: dsl.Input[dsl.Model] | None = None, teacher_3: dsl.Input[dsl.Model] | None = None,
    teacher_4: dsl.Input[dsl.Model] | None = None, teacher_5: dsl.Input[dsl.Model] | None = None,
) -> None:  # fmt: skip
    """Train one of the tiny models of the miniature: base, teacher or reward."""
    from components.common.execution import execute

    teachers = [teacher_1, teacher_2, teacher_3, teacher_4, teacher_5]
    execute("miniature", name, code, configuration, {"world": world, "base": base, "teachers": teachers}, built)


@dsl.component(**SHELL)
def refresh(
    name: str, code: str, configuration: str, world: dsl.Input[dsl.Dataset], reward: dsl.Input[dsl.Model],
    policy: dsl.Input[dsl.Model], built: dsl.Output[dsl.Model],
) -> None:  # fmt: skip
    """Bring the reward model up to date with the policy that it is to rank."""
    from components.common.execution import execute

    execute("miniature", name, code, configuration, {"world": world, "reward": reward, "policy": policy}, built)
