"""What a step costs at the recipe's prices. A price that is not given is named, never guessed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipelines.planning.walking import PlannedStep
from pipelines.planning.work import Asked, Work
from pipelines.recipe import Recipe
from pipelines.settings import Prices

TERABYTE, MILLION = 1e12, 1e6


@dataclass(frozen=True)
class Cost:
    """What is known of a cost, and the fields of the prices that it lacks."""

    known: float = 0.0
    missing: frozenset[str] = frozenset()

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.known + other.known, self.missing | other.missing)


def total(costs: Iterable[Cost]) -> Cost:
    """The sum of costs, and of what they lack."""
    return sum(costs, Cost())


def cost(
    step: PlannedStep,
    work: Work,
    card: str | None,
    served: Sequence[tuple[str | None, float]],
    hours: float,
    recipe: Recipe,
) -> Cost:
    """GPUs or cores by the hour, endpoints by the token, the artifact by the month.

    ``served`` are the cards of the models that the step serves, and the hours for which it holds them.
    """
    prices, machine = recipe.platform.prices, step.machine
    parts = [_gpus(prices, card, machine.accelerator, machine.total_gpus * hours)] if card else []
    for serving, (name, held) in zip(work.servings, served, strict=True):
        if name:
            parts.append(_gpus(prices, name, serving.served.accelerator, serving.gpus * held))
    parts.append(_priced(prices.cpu_hour, _cores(machine.cpu) * machine.nodes * hours, "cpu_hour"))
    kept = work.stored / TERABYTE * recipe.planning.kept_months
    parts.append(_priced(prices.storage_tb_month, kept, "storage_tb_month"))
    return total([*parts, *(_tokens(prices, asked) for asked in work.asked)])


def _tokens(prices: Prices, asked: Asked) -> Cost:
    """At the endpoint's own prices, else at those for the model's name."""
    named, field = prices.tokens.get(asked.model), f"tokens.{asked.model}"
    prompt = asked.input_price if asked.input_price is not None or named is None else named.prompt
    completion = asked.output_price if asked.output_price is not None or named is None else named.completion
    sent = _priced(prompt, asked.prompt_tokens / MILLION, field)
    return sent + _priced(completion, asked.completion_tokens / MILLION, field)


def _gpus(prices: Prices, card: str, accelerator: str, hours: float) -> Cost:
    price = prices.gpu_hour.get(card, prices.gpu_hour.get(accelerator))
    return _priced(price, hours, f"gpu_hour.{card}")


def _priced(price: float | None, amount: float, field: str) -> Cost:
    if not amount:
        return Cost()
    return Cost(missing=frozenset({field})) if price is None else Cost(price * amount)


def _cores(quantity: str) -> float:
    return float(quantity[:-1]) / 1000 if quantity.endswith("m") else float(quantity)
