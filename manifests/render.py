"""Write what manifests/ takes from the chart: its default rendering as the base, and what an example adds for its overlay.

    python manifests/render.py

A file for each template, as the template writes it, less what only Helm needs. The overlays are written by hand, but for the
name of the job that uploads recipes: it holds a hash of what the job does.
"""

import re
from pathlib import Path

import yaml

MANIFESTS = Path(__file__).parent
CHART = MANIFESTS.parent / "helm" / "expanse"
HEADER = "# Made from helm/expanse by `make manifests`: change the chart.\n"
NAMESPACE = "expanse"
#: Helm's labels, and its word that a volume stays.
HELM = re.compile(
    r"^ +(app\.kubernetes\.io/managed-by|helm\.sh/chart): .*\n"
    r"|^  annotations:\n    helm\.sh/resource-policy: keep\n"
    r"|^ *\n",
    re.MULTILINE,
)
JOB = re.compile(r"expanse-upload-[0-9a-f]{10}\b")
#: The runtimes are files of their own here, which the chart takes; the test is a Helm hook.
NOT_TAKEN = {"runtimes.yaml", "check.yaml"}


def main() -> None:
    """Write every file."""
    for path, text in wanted().items():
        path.write_text(text, encoding="utf-8")


def wanted() -> dict[Path, str]:
    """The files that belong here and their contents."""
    base = _templates({})
    files = {MANIFESTS / "base" / name: text for name, text in base.items()}
    for example in sorted((CHART / "examples").glob("*.yaml")):
        values = yaml.safe_load(example.read_text(encoding="utf-8"))
        folder, templates = MANIFESTS / "overlays" / example.stem, _templates(values)
        files |= {folder / name: text for name, text in templates.items() if name not in base}
        (job,) = set(JOB.findall(templates["pipelines.yaml"]))
        overlay = folder / "kustomization.yaml"
        files[overlay] = JOB.sub(job, overlay.read_text(encoding="utf-8"))
    return files


def _templates(values: dict[str, object]) -> dict[str, str]:
    """The contents of each template that comes to something, by its file's name."""
    import helm_python

    rendered = helm_python.Chart.load(CHART).render(values, name="expanse", namespace=NAMESPACE)
    texts = {Path(path).name: HELM.sub("", text) for path, text in rendered.items() if path.endswith(".yaml")}
    return {
        name: HEADER + text.removeprefix("---\n")
        for name, text in sorted(texts.items())
        if text.strip() and name not in NOT_TAKEN
    }


if __name__ == "__main__":
    main()
