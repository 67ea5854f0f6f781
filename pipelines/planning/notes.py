"""What a plan gives away before anything runs: steps that will not fit, will not end in time, or waste what they hold."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pipelines.planning.assumptions import Planning
from pipelines.planning.timing import SPREAD, gpus_used
from pipelines.resources import in_bytes

if TYPE_CHECKING:
    from pipelines.planning.planner import Estimate

GIGABYTE = 1e9
SHOWN = 4
#: Of a card's memory; the rest is the key-value cache's.
SERVED_SHARE = 0.85


class Problem(NamedTuple):
    """``what`` and ``remedy`` are the same for all steps that share a problem, ``figure`` is the step's own."""

    what: str
    figure: str
    remedy: str


Check = Callable[["Estimate", Planning], Problem | None]


def notes(estimates: "Sequence[Estimate]", planning: Planning) -> list[str]:
    """One sentence per problem and remedy, with the steps that have it."""
    found: dict[tuple[str, str], list[str]] = {}
    checks: tuple[Check, ...] = (_fits_card, _cache_fits, _served_fits, _uses_gpus, _ends_in_time, _fits_disk)
    for check in checks:
        for estimate in estimates:
            if problem := check(estimate, planning):
                step = f"{estimate.step.name} ({problem.figure})"
                found.setdefault((problem.what, problem.remedy), []).append(step)
    return [f"{what}: {_listed(steps)}; {remedy}." for (what, remedy), steps in found.items()]


def _fits_card(estimate: "Estimate", planning: Planning) -> Problem | None:
    used, card = gpus_used(estimate.step), planning.card(estimate.card or "")
    if card is None or not used or estimate.work.weights / used <= card.memory * GIGABYTE:
        return None
    each = f"{estimate.work.weights / used / GIGABYTE:,.0f} GB"
    if estimate.work.trained:
        what, remedy = "weights, gradients and optimiser", "give it more GPUs or a larger card"
    else:
        what, remedy = "the model's weights", "it uses one GPU: take a larger card, or serve the model from an endpoint"
    return Problem(f"{what} do not fit into the {card.memory:,.0f} GB of a {estimate.card}", f"{each} each", remedy)


def _cache_fits(estimate: "Estimate", planning: Planning) -> Problem | None:
    work, card = estimate.work, planning.card(estimate.card or "")
    if card is None or work.weights > card.memory * GIGABYTE or work.weights + work.cache <= card.memory * GIGABYTE:
        return None
    what = f"weights and the cache of a batch do not fit into the {card.memory:,.0f} GB of a {estimate.card}"
    figure = f"{work.weights / GIGABYTE:,.0f} + {work.cache / GIGABYTE:,.0f} GB"
    return Problem(what, figure, "lower generation.batch_size, or take a larger card")


def _served_fits(estimate: "Estimate", planning: Planning) -> Problem | None:
    for serving, name in zip(estimate.work.servings, estimate.served_cards, strict=True):
        card, spread = planning.card(name or ""), serving.served.tensor_parallel or serving.served.gpus
        if card is None or serving.bytes / spread <= SERVED_SHARE * card.memory * GIGABYTE:
            continue
        room = f"the {card.memory:,.0f} GB of a {name}"
        what = f"the weights of the served model leave no room for its cache in {room}"
        figure = f"{serving.bytes / spread / GIGABYTE:,.0f} GB on each of {spread}"
        return Problem(what, figure, "give it more gpus or a larger card, or quantise it")
    return None


def _uses_gpus(estimate: "Estimate", planning: Planning) -> Problem | None:
    held, used = estimate.step.machine.total_gpus, gpus_used(estimate.step)
    if (estimate.work.asked or estimate.work.servings) and not estimate.work.flops and held:
        return Problem("holds GPUs while an endpoint computes", f"{held} held", "give it a machine without")
    if estimate.work.flops and held > used:
        return Problem("holds more GPUs than it computes on", f"{held} held, {used} used", "ask for fewer")
    return None


def _ends_in_time(estimate: "Estimate", planning: Planning) -> Problem | None:
    limit = estimate.step.machine.timeout_hours
    if estimate.hours <= limit:
        return None
    from_endpoint = estimate.work.asked or estimate.work.servings
    remedy = "raise the endpoint's concurrency" if from_endpoint else "ask for fewer completions"
    remedy = "give it more GPUs" if estimate.step.stage in SPREAD else remedy
    return Problem(
        f"takes longer than its timeout of {limit:g} h", f"{estimate.hours:,.0f} h", f"raise timeout_hours, or {remedy}"
    )


def _fits_disk(estimate: "Estimate", planning: Planning) -> Problem | None:
    needed, given = estimate.moved + estimate.work.working, in_bytes(estimate.step.machine.storage)
    if needed <= given:
        return None
    what = (
        f"needs more disk for inputs, checkpoints and output than its machine's {given / GIGABYTE:,.0f} GB of storage"
    )
    return Problem(what, f"{needed / GIGABYTE:,.0f} GB", "raise the storage of its machine in the recipe's resources")


def _listed(steps: Sequence[str]) -> str:
    more = f" and {len(steps) - SHOWN} more" if len(steps) > SHOWN else ""
    return ", ".join(steps[:SHOWN]) + more
