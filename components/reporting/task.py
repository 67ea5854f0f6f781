"""Reporting: one page that says what every step gained, with the table, the steps as JSON and the model card."""

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from components.common.hub import PREFIX, split_source
from components.common.inputs import Inputs, optional
from components.common.origins import ORIGINS, origins


class Config(BaseModel):
    """``steps`` label the evaluations in their order (their own names otherwise).

    ``controls`` are the names of those that are no step of the recipe. ``headline`` is the pairwise benchmark of the
    ladder, the first one otherwise. ``license`` and ``base`` go into the model card.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = "Expanse"
    recipe: str
    steps: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()
    headline: str = ""
    published: bool = True
    languages: tuple[str, ...] = ()
    license: str = ""
    base: str = ""


def by_reference(config: Config) -> frozenset[str]:
    """Of what the models come from, only where it is from is wanted."""
    return frozenset({ORIGINS})


def run(config: Config, inputs: Inputs, output: Path) -> dict[str, float | int | str]:
    """Write report.html, steps.json, table.txt and model_card.md; returns the last step's win-rate."""
    from components.reporting import sources
    from components.reporting.examples import read_examples
    from components.reporting.figures import first_pairwise, read_steps
    from components.reporting.page import render_card, render_report
    from components.reporting.tables import summary, text_table
    from components.reporting.words import ladder

    steps = read_steps(inputs.get("evaluations", []), config.steps, config.controls)
    shown = sorted(steps, key=lambda step: step.control)  # the ladder first, then what it is compared with
    headline = config.headline or first_pairwise(steps)
    arbitrage, gate = optional(inputs, "arbitrage"), optional(inputs, "gate")
    report = render_report(
        config.title,
        config.recipe,
        shown,
        headline,
        config.languages,
        sources.read_shares(arbitrage, config.languages) if arbitrage else None,
        sources.read_drift(inputs.get("drift", [])),
        read_examples(shown, headline, config.languages),
        sources.read_gate(gate) if gate else None,
        config.published,
    )
    table = text_table(shown, headline)
    about = {"license": config.license, "base": _model_id(config.base), "origins": origins(inputs)}
    card = render_card(config.title, config.recipe, shown, table, headline, config.languages, about)
    document = json.dumps(summary(steps, headline), ensure_ascii=False, indent=1, allow_nan=False) + "\n"
    files = {"report.html": report, "table.txt": table, "model_card.md": card, "steps.json": document}
    for name, text in files.items():
        (output / name).write_text(text, encoding="utf-8")
    last = next((step.win_rate(headline) for step in reversed(ladder(steps))), None)
    metrics: dict[str, float | int | str] = {"steps": len(steps)}
    return metrics | ({f"{headline}/win_rate": last.value} if last else {})


def _model_id(source: str) -> str:
    """A model of the hub by its name there, as a card's metadata want it; anything else as it is."""
    return split_source(source)[0] if source.startswith(PREFIX) else source
