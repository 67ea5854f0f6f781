"""``expanse promote``: the alias onto a version that has passed its gate."""

import argparse

from pipelines.commands import add_change_options, add_registry_options

HELP = "make a registered version the one that counts"


def configure(command: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_registry_options(command)
    command.add_argument("--version", type=int, metavar="N", help="default: the newest that passed its gate")
    command.add_argument("--force", default="", metavar="REASON", help="promote what did not pass; kept in the history")
    add_change_options(command)


def execute(options: argparse.Namespace) -> None:
    """Move the alias and say from where to where; no service is changed."""
    from components.promotion.releasing import promote_version
    from pipelines.releasing.reaching import registry_of

    version = None if options.version is None else str(options.version)
    print(promote_version(registry_of(options), version, options.reason, options.force, options.dry_run))
