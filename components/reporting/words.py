"""What the figures say, in sentences that a reader can check against them."""

from collections.abc import Sequence

from components.reporting.figures import EVEN, Figure, Step

PERCENT = "\u00a0%"  # the number and its sign stay on one line


def number(figure: Figure, value: float) -> str:
    """A value in its own unit: a percentage, a chrF++ score, or characters."""
    if figure.is_rate:
        return f"{100 * value:.1f}{PERCENT}"
    return f"{value:.0f}" if figure.metric == "mean_length" else f"{value:.1f}"


def interval(figure: Figure) -> str:
    """ "58.0 to 64.0 %", or without the sign for what is no rate."""
    low, high = number(figure, figure.low), number(figure, figure.high)
    return f"{low.removesuffix(PERCENT)} to {high}"


def metric_name(metric: str) -> str:
    """A metric as readers call it."""
    return {"win_rate": "win-rate", "chrf++": "chrF++"}.get(metric, metric.replace("_", " "))


def ladder(steps: Sequence[Step]) -> list[Step]:
    """The recipe's own steps, without controls and baselines."""
    return [step for step in steps if not step.control]


def headline(steps: Sequence[Step], benchmark: str) -> str:
    """What the whole run gained, in one sentence."""
    rungs = ladder(steps)
    if not rungs:
        return "Only comparisons were evaluated, so there is no gain to report."
    first, last = rungs[0], rungs[-1]
    figure = last.win_rate(benchmark)
    if first is last or figure is None:
        return f"{last.label} was evaluated, but not head to head against a baseline."
    opponent = label_of(steps, figure.opponent) or "the baseline"
    won, span = number(figure, figure.value), interval(figure)
    verdict = figure.against(EVEN)
    if verdict == "gain":
        return f"{last.label} wins {won} of comparisons against {opponent} (95{PERCENT} interval {span})."
    if verdict == "loss":
        return f"{last.label} loses to {opponent}: it wins only {won} of comparisons (95{PERCENT} interval {span})."
    return f"No clear gain: {last.label} wins {won} against {opponent}, and the interval {span} includes one half."


def step_sentence(steps: Sequence[Step], index: int, benchmark: str) -> str:
    """What this step did to an earlier one, by their head-to-head."""
    step, figure = steps[index], steps[index].head_to_head(benchmark)
    if any(each.opponent == step.name for other in steps if (each := other.win_rate(benchmark))):
        return "The fixed opponent of every other row."
    if step.control:
        return _control_sentence(steps, step, benchmark)
    twin = _same_model(steps[:index], step)
    if twin and (figure is None or figure.opponent == twin.name):
        return f"Nothing changed: this is the model of {twin.label}; the loop had stopped, or there was no data."
    sentence = _gain_sentence(steps, figure) if figure else _without_head_to_head(index)
    sentence = f"The model of {twin.label}. {sentence}" if twin else sentence
    return f"{sentence} Regressed: {' '.join(step.reasons)}" if step.regressed else sentence


def _same_model(before: Sequence[Step], step: Step) -> Step | None:
    twins = [other for other in before if step.model_digest and other.model_digest == step.model_digest]
    return twins[0] if twins else None


def languages_sentence(step: Step, benchmark: str) -> str:
    """In how many languages the win-rate lies below one half beyond doubt, and in how many neither."""
    figure = step.win_rate(benchmark)
    if figure is None or not figure.languages:
        return ""
    verdicts = [each.against(EVEN) for each in figure.languages.values()]
    better, worse, total = verdicts.count("gain"), verdicts.count("loss"), len(verdicts)
    return f"beyond doubt; {worse} worse, {total - better - worse} undecided"


def _gain_sentence(steps: Sequence[Step], figure: Figure) -> str:
    opponent, span = label_of(steps, figure.opponent) or "an earlier step", interval(figure)
    verdict = figure.against(EVEN)
    if verdict == "gain":
        return f"Gains on {opponent}: preferred in {number(figure, figure.value)}."
    if verdict == "loss":
        return f"Loses to {opponent}: preferred in only {number(figure, figure.value)}."
    return f"No clear gain on {opponent}: {span} includes one half."


def _control_sentence(steps: Sequence[Step], step: Step, benchmark: str) -> str:
    figure = step.win_rate(benchmark)
    if figure is None:
        return "For comparison; not judged head to head."
    verdict = {"gain": "better than", "loss": "worse than", "even": "level with"}[figure.against(EVEN)]
    return f"For comparison, not a step of the recipe: {verdict} {label_of(steps, figure.opponent) or 'the baseline'}."


def _without_head_to_head(index: int) -> str:
    return "Not played against an earlier step." if index else "Where the recipe starts."


def label_of(steps: Sequence[Step], name: str) -> str:
    """What readers see for an opponent's name."""
    return next((step.label for step in steps if step.name == name), name)
