"""The KFP shell of the weights stage: see task.py for what it does."""

from kfp import dsl

from components.common.shell import SHELL


@dsl.component(**SHELL)
def weights(name: str, code: str, configuration: str, fetched: dsl.Output[dsl.Model]) -> None:
    """Fetch a model's weights once, check them, and keep them in the store."""
    from components.common.execution import execute

    execute("weights", name, code, configuration, {}, fetched)
