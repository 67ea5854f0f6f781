"""The KFP shell of the clean-up: see task.py for what it does."""

from kfp import dsl

from components.common.shell import SHELL


@dsl.component(**SHELL)
def cleanup(name: str, code: str, configuration: str, removed: dsl.Output[dsl.Artifact]) -> None:
    """Remove the services and training jobs that a run has left in the cluster."""
    from components.common.execution import execute

    execute("cleanup", name, code, configuration, {}, removed)
