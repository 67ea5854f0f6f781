"""``expanse history``: what was released when, by whom and why."""

import argparse
import json
from dataclasses import asdict

from pipelines.commands import add_registry_options

HELP = "what served when: promotions, rollbacks and deployments of a model"


def configure(command: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_registry_options(command)
    command.add_argument("--json", action="store_true", help="print JSON, one event a line")


def execute(options: argparse.Namespace) -> None:
    """Print a line for every event, the oldest first, and what the alias is on."""
    from components.common.releases.history import line
    from pipelines.releasing.reaching import registry_of

    released = registry_of(options).read()
    for event in released.history:
        print(json.dumps(asdict(event), ensure_ascii=False) if options.json else line(event))
    if not options.json:
        print(f"{options.alias} of {options.model} is on version {released.current or 'none'}.")
