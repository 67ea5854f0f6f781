"""Findings as a table, as JSON, and as an exit code."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from components.common.errors import BadInput, Transient
from pipelines.checks.finding import Finding, Status

STYLES: dict[Status, str] = {
    "ok": "green",
    "warning": "yellow",
    "failed": "bold red",
    "transient": "magenta",
    "skipped": "dim",
}
NAMED = 3


def report(findings: Sequence[Finding], as_json: bool) -> None:
    """Print the findings; raises BadInput (exit 2) when a check failed, Transient (exit 3) when that may pass by itself."""
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1, ensure_ascii=False))
    else:
        show(findings, Console())
    conclude(findings)


def show(findings: Sequence[Finding], console: Console) -> None:
    """A row per finding, and how many there are of each kind."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("checked", no_wrap=console.width >= 120)
    table.add_column("result", no_wrap=True)
    table.add_column("found")
    for finding in findings:
        table.add_row(finding.object, f"[{STYLES[finding.status]}]{finding.status}[/]", _escaped(finding.words))
    console.print(table, highlight=False)
    counts = Counter(finding.status for finding in findings)
    console.print(", ".join(f"{counts[status]} {status}" for status in STYLES if counts[status]), highlight=False)
    _show_pins([finding for finding in findings if finding.pin], console)


def _show_pins(findings: Sequence[Finding], console: Console) -> None:
    """One whole line each, to be copied: a table would break them."""
    if findings:
        console.print("\nNot pinned; the hub names these commits today:")
    for finding in findings:
        console.print(f"  {finding.pin}  # {finding.object}", soft_wrap=True, highlight=False, markup=False)


def conclude(findings: Sequence[Finding]) -> None:
    """Raise BadInput (exit 2) when a check failed, Transient (exit 3) when what is wrong may pass by itself."""
    failed = [finding.object for finding in findings if finding.status == "failed"]
    passing = [finding.object for finding in findings if finding.status == "transient"]
    if failed:
        raise BadInput(
            f"{len(failed)} of {len(findings)} checks failed ({_listed(failed)}); do what is said beside each of them."
        )
    if passing:
        raise Transient(
            f"{len(passing)} of {len(findings)} checks could not be passed now ({_listed(passing)}); try again later."
        )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")
