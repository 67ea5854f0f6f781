"""Endpoints of teachers and judges: they answer, list the model, and take the key."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from components.common.addresses import check_url
from components.common.endpoints import Endpoint
from components.common.errors import BadInput, Transient
from pipelines.checks.finding import Check, Finding, ok, skipped
from pipelines.checks.web import ask, fields, is_inside
from pipelines.parts import find_all
from pipelines.recipe import Recipe

LISTED = 5


@dataclass(frozen=True)
class Target:
    """A model at an endpoint; ``path`` is where the recipe names it."""

    path: str
    url: str
    model: str
    key_variable: str | None

    @property
    def name(self) -> str:
        """As it is shown."""
        return f"endpoint {self.path}"


def endpoint_checks(recipe: Recipe) -> list[Check]:
    """One check per distinct endpoint, model and key, wherever the recipe names it."""
    found: dict[tuple[str, str, str | None], Target] = {}
    for target in _targets(recipe):
        found.setdefault((target.url, target.model, target.key_variable), target)
    return [Check(target.name, _looker(target, recipe)) for target in found.values()]


def _targets(recipe: Recipe) -> Iterator[Target]:
    for path, part in find_all(recipe, Endpoint):
        yield Target(path.removesuffix(".endpoint"), part.url, part.model, part.api_key_variable)


def _looker(target: Target, recipe: Recipe) -> Callable[[], Finding]:
    return lambda: look(target, recipe)


def look(target: Target, recipe: Recipe) -> Finding:
    """Ask the endpoint for its models, with the key that its steps would use."""
    headers: dict[str, str] = {}
    if variable := target.key_variable:
        key = os.environ.get(variable, "").strip()
        if not key:
            return _no_key(target, variable, recipe)
        if not key.isascii() or not key.isprintable():
            raise BadInput(f"The key in {variable} has characters that no key has; set {variable} anew.")
        headers = {"Authorization": f"Bearer {key}"}
    try:
        check_url(target.url)
        response = ask(f"{target.url.rstrip('/')}/models", headers)
    except Transient:
        if is_inside(target.url):
            return skipped(target.name, f"{target.url} is inside a cluster", "run the check in a pod of the cluster")
        raise
    return _judge(target, response.status_code, fields(response))


def _judge(target: Target, status: int, document: dict[str, object]) -> Finding:
    if status in (401, 403):
        given = f"the key in {target.key_variable}" if target.key_variable else "a request without a key"
        raise BadInput(f"{target.url} refuses {given} (status {status}); renew it, or set api_key_variable.")
    if status == 404:
        return Finding(
            "warning",
            target.name,
            f"{target.url}/models is not there, so the model cannot be seen",
            "see that url ends in /v1",
        )
    if status != 200:
        raise BadInput(f"{target.url}/models answered with status {status}; correct the url.")
    listed = document.get("data")
    names = [str(each.get("id")) for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    if target.model in names:
        return ok(target.name, f"{target.url} serves {target.model}")
    there = ", ".join(names[:LISTED]) + (", ..." if len(names) > LISTED else "") if names else "no model at all"
    raise BadInput(f"{target.url} does not serve {target.model}, it lists {there}; correct the model's name.")


def _no_key(target: Target, variable: str, recipe: Recipe) -> Finding:
    if variable in recipe.platform.secrets:
        reason = f"its key comes from a Secret of the cluster, {variable} is not set here"
        return skipped(target.name, reason, f"set {variable} to check the key from here")
    raise BadInput(
        f"{target.url} needs a key and {variable} is neither set here nor among platform.secrets; add "
        f"platform.secrets.{variable} and set the variable for this check."
    )
