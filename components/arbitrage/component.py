"""The KFP shell of the arbitrage stage: see task.py for what it does."""

from kfp import dsl

from components.common.shell import SHELL


@dsl.component(**SHELL)
def arbitrage(
    name: str, code: str, configuration: str, scored: dsl.Input[dsl.Dataset], examples: dsl.Output[dsl.Dataset]
) -> None:
    """Route each prompt to the completion that becomes its supervised target."""
    from components.common.execution import execute

    execute("arbitrage", name, code, configuration, {"scored": scored}, examples)
