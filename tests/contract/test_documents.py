"""What the Markdown files point at is there: files, headings, and the paths and make targets that they name."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = "components|pipelines|serving|helm|manifests|images|docs|tests|benchmarks"
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
PATH = re.compile(rf"`((?:{ROOMS})/[\w./-]+)`")
TARGET = re.compile(r"(?:^|`)make ([a-z]+(?:-[a-z]+)*)(?= *(?:`|#|[A-Z]+=|$))", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def documents() -> list[Path]:
    """Every Markdown file but those of hidden folders, which are large, and of runs."""
    folders = [path for path in ROOT.iterdir() if path.is_dir() and path.name[0] != "." and path.name != "runs"]
    return sorted([*ROOT.glob("*.md"), *(path for folder in folders for path in folder.rglob("*.md"))])


def anchors(document: Path) -> set[str]:
    """The headings of a document as GitHub names them in addresses."""
    headings = re.findall(r"^#+ +(.*)$", FENCE.sub("", document.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(document: Path) -> list[str]:
    """The links and the paths of a document that lead nowhere."""
    prose = FENCE.sub("", document.read_text(encoding="utf-8"))
    found = [
        path for path in PATH.findall(prose) if not any((base / path).exists() for base in (ROOT, document.parent))
    ]
    for link in LINK.findall(re.sub(r"`[^`]*`", "", prose)):
        if re.match(r"[a-z]+:", link):
            continue
        place, _, anchor = link.partition("#")
        target = document.parent / place if place else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(link)
    return found


def test_there_are_documents_and_their_headings_are_found():
    assert ROOT / "README.md" in documents()
    assert {"the-chart", "upgrading-and-removing"} <= anchors(ROOT / "helm" / "expanse" / "README.md")


@pytest.mark.parametrize("document", documents(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_and_paths_lead_somewhere(document):
    assert broken(document) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# One\n[a](page.md#one) [b](page.md#two) [c](gone.md) `docs/gone.md` `[d](gone.md)` [e](https://x.y)\n"
    )
    assert broken(page) == ["docs/gone.md", "page.md#two", "gone.md"]


def test_the_make_targets_that_documents_name_exist():
    named = {name for page in documents() for name in TARGET.findall(page.read_text(encoding="utf-8"))}
    there = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {"run", "test", "images"} <= named
    assert named <= there
