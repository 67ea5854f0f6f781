"""What a person sees of a run: live on a terminal, plain lines elsewhere."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

Event = dict[str, Any]
Show = Callable[[Event], None]

#: The one figure worth a line while the run goes on, by what a step reports.
HEADLINES = {
    "arena/win_rate": "win-rate {:.1%}",
    "arena_previous/win_rate": "against the step before {:.1%}",
    "pair_accuracy": "pair accuracy {:.1%}",
    "exact_match": "exact match {:.1%}",
    "prompts": "{:,.0f} prompts",
    "completions": "{:,.0f} completions",
    "scored": "{:,.0f} scored",
    "examples": "{:,.0f} examples",
    "pairs": "{:,.0f} pairs",
    "loss_last": "loss {:.3f}",
    "tensors": "{:,.0f} tensors",
}


def show_all(events: Iterable[Event], total: int, console: Console) -> list[Event]:
    """Show every event as it comes; returns the finished ones."""
    finished: list[Event] = []
    with display(total, console) as show:
        for event in events:
            show(event)
            if event["event"] == "finished":
                finished.append(event)
    return finished


@contextmanager
def display(total: int, console: Console) -> Iterator[Show]:
    """A function that shows one event; ``total`` is the number of steps."""
    if not console.is_terminal:
        yield Lines(total, console).show
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting", total=total)
        lines = Lines(total, progress.console)

        def show(event: Event) -> None:
            lines.show(event)
            progress.update(task, description=", ".join(lines.started), completed=lines.done)

        yield show


class Lines:
    """One line per finished step: its place, name, seconds and headline figure. ``started`` are the steps at work."""

    def __init__(self, total: int, console: Console) -> None:
        self.total, self.console = total, console
        self.done, self.failed = 0, False
        self.started: dict[str, float] = {}

    def show(self, event: Event) -> None:
        """Print the line of a finished or failed step; note when one starts."""
        name = event["name"]
        if event["event"] == "started":
            self.started[name] = event["time"]
        elif event["event"] == "finished":
            self.done += 1
            taken = event["time"] - self.started.pop(name, event["time"])
            seconds = "finished before" if event["cached"] else f"{taken:.1f} s"
            place = f"{self.done:>{len(str(self.total))}}/{self.total}"
            self.console.print(f"{place}  {name:<24} {seconds:>15}   {headline(event['metrics'])}", highlight=False)
        elif event["event"] == "failed" and not self.failed:  # a full disk fails all that are at work
            self.failed = True
            self.console.print(f"  failed: {name}", style="bold red")


def headline(metrics: dict[str, Any]) -> str:
    """The first figure of ``HEADLINES`` that a step reports, in words."""
    for name, words in HEADLINES.items():
        if isinstance(metrics.get(name), int | float):
            return words.format(metrics[name])
    return str(metrics.get("passed_through", ""))
