"""Licences: what the recipe states, what the hub says, and what follows for the model that a run registers."""

import re

from pipelines.checks.finding import Check, Finding, ok
from pipelines.recipe import Baseline, Recipe

#: Ways in which one licence is written, after ``normal``.
SAME = {"mistralresearchlicense": "mrl", "mrl01": "mrl", "llama31communitylicense": "llama31"}
REWARD = "licence of the reward model"
#: What else a teacher's licence asks of a model that is trained on its answers.
LLAMA = "asks models that are trained on its answers to begin their name with 'Llama'"
GEMMA = "puts models that are trained on its answers under the Gemma terms of use"


def normal(licence: str) -> str:
    """Letters and digits only, known synonyms made one: "CC-BY-NC-4.0" and "cc-by-nc-4.0" are the same licence."""
    plain = re.sub(r"[^a-z0-9]", "", licence.lower())
    return SAME.get(plain, plain)


def is_noncommercial(licence: str) -> bool:
    """Whether a licence forbids commercial use, by its usual names."""
    words = set(re.split(r"[^a-z0-9]+", licence.lower()))
    return bool(words & {"nc", "noncommercial", "research"}) or normal(licence) == "mrl"


def agree(stated: str, hub: str, hub_name: str = "") -> bool:
    """Whether the recipe's licence is the hub's; under "other" the hub keeps the name in a second field."""
    return normal(stated) in {normal(hub), normal(hub_name)} - {"other", ""}


def licence_checks(recipe: Recipe) -> list[Check]:
    """What the registered model's licence, the base's, means with these teachers."""
    checks = [Check("licence of the result", lambda: of_result(recipe)), Check(REWARD, lambda: of_reward_model(recipe))]
    checks += [_of_teacher(recipe, index) for index, _ in enumerate(recipe.teachers)]
    return checks + [_of_baseline(baseline) for baseline in recipe.baselines]


def of_result(recipe: Recipe) -> Finding:
    """The result is a derivative of the base and is registered under its licence."""
    name, licence = recipe.registry.registered_model, recipe.base.license
    sentence = f"{name} is registered under {licence}, the licence of {recipe.base.source}"
    if is_noncommercial(licence):
        return Finding("warning", "licence of the result", sentence, "do not serve it commercially")
    return ok("licence of the result", sentence)


def of_reward_model(recipe: Recipe) -> Finding:
    """A reward model's scores choose the training data; its own text is in none of it."""
    licence, result = recipe.reward.license, recipe.registry.registered_model
    if is_noncommercial(licence) and not is_noncommercial(recipe.base.license):
        sentence = f"{licence} forbids commercial use, and its scores choose what {result} is trained on"
        return Finding("warning", REWARD, sentence, "have the terms read, or choose another reward model")
    return ok(REWARD, f"{licence} goes with {recipe.base.license}")


def _of_baseline(baseline: Baseline) -> Check:
    name = f"licence of baseline {baseline.name}"
    use = " for research only" if is_noncommercial(baseline.license) else ""
    return Check(name, lambda: ok(name, f"{baseline.license}: compared with{use}, never trained on"))


def _of_teacher(recipe: Recipe, index: int) -> Check:
    name = f"licence of teacher {recipe.teachers[index].name}"
    return Check(name, lambda: of_teacher(recipe, index))


def of_teacher(recipe: Recipe, index: int) -> Finding:
    """A model that is trained on a teacher's answers is bound by that teacher's terms."""
    teacher, result = recipe.teachers[index], recipe.registry.registered_model
    name, licence = f"licence of teacher {teacher.name}", teacher.license
    if is_noncommercial(licence) and not is_noncommercial(recipe.base.license):
        sentence = f"{licence} forbids commercial use and {result} would be registered under {recipe.base.license}"
        return Finding(
            "failed", name, sentence, "leave the teacher out, or choose a base under a non-commercial licence"
        )
    if normal(licence).startswith("llama") and not result.lower().startswith("llama"):
        return Finding("warning", name, f"{licence} {LLAMA}", f"rename registry.registered_model, now {result}")
    if normal(licence).startswith("gemma"):
        return Finding("warning", name, f"{licence} {GEMMA}", "have the terms read before the model is passed on")
    return ok(name, f"{licence} goes with {recipe.base.license}")
