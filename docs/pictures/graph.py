"""Draws graph.svg from the compiled 8b recipe: the root graph, and one of its chapters opened.

Run ``.venv/bin/python docs/pictures/graph.py`` after a change of the graph. Edges that follow from others are left out.
"""

import tempfile
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import yaml

from pipelines.compiling import compile_recipe
from pipelines.loading import load_recipe

PICTURE = Path(__file__).with_name("graph.svg")
RECIPE, OPENED = "8b", "round-1"
WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 186, 46, 26, 14, 24
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1a1a1a}.small{font-size:11px;fill:#666}.title{font-size:15px;font-weight:600}"
    "rect{fill:#f4f7fb;stroke:#5b7db1}.open rect{fill:#fdf6e7;stroke:#b98a2b}path{fill:none;stroke:#9aa7b8;stroke-width:1.5}"
)
Edges = Mapping[str, set[str]]


def main() -> None:
    """Write the picture."""
    PICTURE.write_text(draw(), encoding="utf-8")


def draw() -> str:
    """The picture as SVG."""
    spec = compiled()
    story = root_graph(spec)
    chapters = nested(spec, story)
    counts = {name: f"{len(dag['tasks'])} steps" for name, dag in chapters.items()}
    root, width, height = graph(reduced(edges(chapters, story)), counts, MARGIN + 26, OPENED)
    below = height + 40
    inner, inner_width, bottom = graph(reduced(edges(None, chapters[OPENED])), {}, below + 26)
    size = (max(width, inner_width) + MARGIN, bottom + MARGIN)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" viewBox="0 0 {size[0]} {size[1]}">',
        f'<style>{STYLE}</style><rect x="0" y="0" width="100%" height="100%" style="fill:#fff;stroke:none"/>',
        label(MARGIN, MARGIN + 4, f"expanse-{RECIPE}", "title"),
        root,
        label(MARGIN, below + 4, f"{OPENED}, opened", "title"),
        f'<g class="open">{inner}</g></svg>',
    ]
    return "\n".join(parts) + "\n"


def compiled() -> dict[str, Any]:
    """The recipe's intermediate representation."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pipeline.yaml")
        compile_recipe(load_recipe(RECIPE), path)
        spec: dict[str, Any] = next(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    return spec


def root_graph(spec: dict[str, Any]) -> dict[str, Any]:
    """The graph of the chapters: the root, or what its exit handler holds."""
    dag: dict[str, Any] = spec["root"]["dag"]
    handled = [part for name, part in nested(spec, dag).items() if name.startswith("exit-handler")]
    return handled[0] if handled else dag


def nested(spec: dict[str, Any], dag: dict[str, Any]) -> dict[str, Any]:
    """The graphs inside the tasks of a graph."""
    parts = {name: spec["components"][task["componentRef"]["name"]] for name, task in dag["tasks"].items()}
    return {name: part["dag"] for name, part in parts.items() if "dag" in part}


def edges(names: Mapping[str, Any] | None, dag: dict[str, Any]) -> dict[str, set[str]]:
    """Which tasks each task waits for."""
    tasks = {name: task for name, task in dag["tasks"].items() if names is None or name in names}
    return {name: set(task.get("dependentTasks", ())) & set(tasks) for name, task in tasks.items()}


def reduced(before: Edges) -> dict[str, set[str]]:
    """The same order with no edge that follows from others."""

    def reach(name: str) -> set[str]:
        return before[name].union(*(reach(each) for each in before[name]))

    return {
        name: {each for each in direct if not any(each in reach(o) for o in direct)} for name, direct in before.items()
    }


def ranks(before: Edges) -> list[list[str]]:
    """The tasks in columns: each to the right of all that it waits for."""

    def rank(name: str) -> int:
        return 1 + max((rank(each) for each in before[name]), default=-1)

    columns: list[list[str]] = [[] for _ in range(1 + max(map(rank, before)))]
    for name in sorted(before):
        columns[rank(name)].append(name)
    return columns


def graph(before: Edges, notes: Mapping[str, str], top: int, marked: str = "") -> tuple[str, int, int]:
    """Boxes and lines, with the right edge and the bottom of what was drawn."""
    columns = ranks(before)
    tallest = max(map(len, columns))
    places: dict[str, tuple[int, int]] = {}
    for column, names in enumerate(columns):
        shift = (tallest - len(names)) * (HEIGHT + GAP_Y) // 2
        for row, name in enumerate(names):
            places[name] = (MARGIN + column * (WIDTH + GAP_X), top + shift + row * (HEIGHT + GAP_Y))
    lines = [line(places[each], places[name]) for name, waits in before.items() for each in sorted(waits)]
    boxes = [box(*place, name, notes.get(name, ""), name == marked) for name, place in places.items()]
    right = MARGIN + len(columns) * (WIDTH + GAP_X) - GAP_X
    return "\n".join(lines + boxes), right, top + tallest * (HEIGHT + GAP_Y) - GAP_Y


def line(start: tuple[int, int], end: tuple[int, int]) -> str:
    """A curve from the right of one box to the left of another."""
    x1, y1, x2, y2 = start[0] + WIDTH, start[1] + HEIGHT // 2, end[0], end[1] + HEIGHT // 2
    middle = (x1 + x2) // 2
    return f'<path d="M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}"/>'


def box(x: int, y: int, name: str, note: str, marked: bool) -> str:
    """A task, with a small note below its name."""
    middle, baseline = x + WIDTH // 2, y + HEIGHT // 2 + (-2 if note else 5)
    inside = [label(middle, baseline, name, "", "middle")] + (
        [label(middle, y + HEIGHT - 9, note, "small", "middle")] if note else []
    )
    shape = f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="7"/>'
    group = '<g class="open">' if marked else "<g>"
    return f"{group}{shape}{''.join(inside)}</g>"


def label(x: int, y: int, text: str, kind: str, anchor: str = "start") -> str:
    """A line of text."""
    return f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'


if __name__ == "__main__":
    main()
