"""``helm`` for the guide: the two actions that it types, done by real Helm from helm-python-sdk."""

import argparse
import os
from pathlib import Path

import helm_python
import yaml


def main() -> None:
    options = argparse.ArgumentParser(prog="helm")
    options.add_argument("action", choices=["install", "uninstall"])
    options.add_argument("release")
    options.add_argument("chart", nargs="?")
    options.add_argument("-n", "--namespace", required=True)
    options.add_argument("-f", "--values", action="append", type=Path, default=[])
    given = options.parse_args()
    config = helm_python.Config(kubeconfig_path=os.environ["KUBECONFIG"], namespace=given.namespace)
    if given.action == "uninstall":
        config.uninstall(given.release)
        return
    values: dict = {}
    for path in given.values:
        values = merged(values, yaml.safe_load(path.read_text(encoding="utf-8")))
    print(config.install(given.chart, given.release, values, namespace=given.namespace)["status"])


def merged(below: dict, above: dict) -> dict:
    both = {key: merged(below[key], above[key]) for key in above if isinstance(below.get(key), dict)}
    return {**below, **above, **both}


if __name__ == "__main__":
    main()
