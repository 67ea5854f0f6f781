"""Endpoints of teachers, baselines and judges: they answer, list the model, take the key, and give likelihoods where needed."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from components.common.addresses import check_url
from components.common.endpoints import Endpoint
from components.common.errors import BadInput, Transient
from pipelines.checks.finding import Check, Finding, ok, skipped
from pipelines.checks.web import ask, fields, is_inside
from pipelines.parts import find_all
from pipelines.recipe import Recipe

LISTED = 5
SENTENCE = "The capital of Canada is Ottawa."


@dataclass(frozen=True)
class Target:
    """A model at an endpoint; ``path`` is where the recipe names it, ``scored`` whether its likelihoods are read."""

    path: str
    url: str
    model: str
    key_variable: str | None
    scored: bool = False

    @property
    def name(self) -> str:
        """As it is shown."""
        return f"endpoint {self.path}"


def endpoint_checks(recipe: Recipe) -> list[Check]:
    """One check per distinct endpoint, model and key, wherever the recipe names it."""
    found: dict[tuple[str, str, str | None], Target] = {}
    for target in _targets(recipe):
        same = (target.url, target.model, target.key_variable)
        found[same] = target if target.scored else found.get(same, target)
    return [Check(target.name, _looker(target, recipe)) for target in found.values()]


def _targets(recipe: Recipe) -> Iterator[Target]:
    choices = bool(recipe.evaluation.of_kind("multiple_choice"))
    for path, part in find_all(recipe, Endpoint):
        scored = choices and path.startswith("baselines.")
        yield Target(path.removesuffix(".endpoint"), part.url, part.model, part.api_key_variable, scored)


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
    found = _judge(target, response.status_code, fields(response))
    return _likelihoods(target, headers) if target.scored else found


def _likelihoods(target: Target, headers: dict[str, str]) -> Finding:
    """Ask for the log-probabilities of one sentence, a dozen tokens, as components/evaluation/echoed.py does days later."""
    wanted = {"model": target.model, "prompt": SENTENCE, "echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0}
    response = ask(f"{target.url.rstrip('/')}/completions", headers, "POST", wanted)
    told: Any = fields(response).get("choices")
    try:
        values = told[0]["logprobs"]["token_logprobs"]
        sound = len(values) > 2 and all(isinstance(value, int | float) for value in values[1:])
    except (LookupError, TypeError):
        sound = False
    if response.status_code == 200 and sound:
        return ok(
            target.name, f"{target.url} serves {target.model} and gives the likelihoods that multiple choice needs"
        )
    raise BadInput(
        f"{target.url} does not give the log-probabilities of a prompt (status {response.status_code}), which multiple choice "
        "needs; serve the baseline's model, or take the baseline out."
    )


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
