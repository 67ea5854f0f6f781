"""The picture of the graph in the docs is of the graph that the recipe compiles to."""

import runpy
from pathlib import Path

DRAWING = Path(__file__).parents[2] / "docs" / "pictures" / "graph.py"


def test_the_picture_of_the_graph_is_up_to_date():
    drawn = runpy.run_path(str(DRAWING))["draw"]()
    assert drawn == DRAWING.with_name("graph.svg").read_text(encoding="utf-8"), (
        "run .venv/bin/python docs/pictures/graph.py"
    )
