"""``expanse deploy``: a registered version on a service, outside of a run."""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from components.common.errors import BadInput
from components.common.inference.objects import Object
from components.common.releases.versions import Released, Version
from pipelines.releasing.reaching import DRY, is_local, noted, outlet_of, registry_of, tried

if TYPE_CHECKING:
    from components.deployment.releasing import Outlet
    from components.deployment.task import Config
    from pipelines.recipe import Recipe


def deploy(options: argparse.Namespace) -> Iterator[str]:
    """Deploy a registered version outside of a run, saying each thing before and after it is done."""
    registry = registry_of(options)
    released = registry.read()
    version = _version_to_deploy(released, options)
    recipe = _recipe(options.recipe)
    if is_local(version):
        yield f"Version {version.number} of {options.model} ({version.source}) is served on this machine and probed."
        yield from [DRY] if options.dry_run else tried(version, options.model, recipe.deployment if recipe else None)
        return
    outlet = outlet_of(options)
    name, service, said = _target(outlet, released, version, recipe, options.name)
    yield said
    if options.dry_run:
        yield DRY
        return
    if recipe:
        yield outlet.deploy(_config(recipe, name), options.model, version)
    elif service is not None:
        yield outlet.put(service, options.model, version)
    why = f"forced: {options.force}" if options.force else options.reason
    yield from noted(registry, f"{outlet.services.namespace}/{name}", version, why)


def _target(
    outlet: "Outlet", released: Released, version: Version, recipe: "Recipe | None", name: str | None
) -> tuple[str, Object | None, str]:
    """The service's name, what it is now, and the sentence that says what it will be."""
    from components.deployment.record import uri_of

    sources = {each.source: each.number for each in released.versions.values()}
    name = name or (recipe.deployment.name if recipe else _only(outlet, sources, released.model))
    called, service = outlet.services.called(name), outlet.services.read(name)
    if service is not None:
        outlet.check(service, version)
    elif recipe is None:
        raise BadInput(
            f"There is no {called}; name a recipe whose deployment says on what it runs, such as --recipe 8b."
        )
    now = "new" if service is None else f"version {sources.get(uri_of(service), 'unknown')}"
    return name, service, f"{called}: {now} -> version {version.number} of {released.model} ({version.source})."


def _version_to_deploy(released: Released, options: argparse.Namespace) -> Version:
    if options.version is None and not released.current:
        raise BadInput(f"{released.alias} of {released.model} is on no version; promote one, or name a --version.")
    version = released.version(released.current if options.version is None else str(options.version))
    if version.refusal and version.number != released.current and not options.force:
        raise BadInput(
            f"Version {version.number} of {released.model} may not be deployed: {version.refusal.rstrip('.')}; choose "
            "another --version, or give --force REASON."
        )
    return version


def _recipe(name: str | None) -> "Recipe | None":
    from pipelines.loading import load_recipe

    return load_recipe(name) if name else None


def _config(recipe: "Recipe", name: str) -> "Config":
    """The recipe's deployment under this name, with the runtime and the queue of its platform as in a run."""
    config, platform = recipe.deployment, recipe.platform
    if config.served is None:
        return config
    own = config.served
    served = {"runtime": own.runtime or platform.serving_runtime, "queue": own.queue or platform.queue}
    return config.model_validate({**config.model_dump(), "name": name, "served": {**own.model_dump(), **served}})


def _only(outlet: "Outlet", sources: dict[str, str], model: str) -> str:
    names = list(outlet.serving(sources))
    if len(names) != 1:
        there = ", ".join(names) or "none"
        raise BadInput(
            f"The services of {outlet.services.namespace} that serve {model} are: {there}; say which with --name, or "
            "name a --recipe for a new one."
        )
    return names[0]
