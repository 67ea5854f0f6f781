"""One stage alone, from the command line: ``python -m components.<stage>`` and ``expanse step <stage>``."""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from components.common.artifacts import MANIFEST, Provenance, Reference, read_manifest, verify
from components.common.canonical import canonical_json, file_digest
from components.common.ending import terminable
from components.common.errors import BadInput, ExpanseError
from components.common.step import STORE, Step, default_store, run_step


def main(stage: str, arguments: Sequence[str] | None = None) -> None:
    """Parse ``arguments`` (or the process's own), run the stage, and exit with the code of the error if there is one."""
    options = parser(stage).parse_args(arguments)
    try:
        with terminable():
            run_alone(stage, options)
    except ExpanseError as error:
        print(f"expanse: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None


def parser(stage: str) -> argparse.ArgumentParser:
    """The options that every stage has."""
    options = argparse.ArgumentParser(prog=f"python -m components.{stage}", description=f"Run the {stage} stage alone.")
    add_options(options)
    return options


def add_options(options: argparse.ArgumentParser) -> None:
    """Add the options that every stage has to an existing parser."""
    options.add_argument(
        "--config", type=Path, help="a YAML or JSON file with the stage's configuration (default: its defaults)"
    )
    options.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="a reference file, or a plain folder; repeat for more",
    )
    options.add_argument("--output", type=Path, required=True, metavar="REF", help="where to write the reference file")
    options.add_argument(
        "--store", metavar="URI", help=f"where artifacts live (default: {STORE}, or a folder beside the output)"
    )


def run_alone(stage: str, options: argparse.Namespace) -> Reference:
    """Run the stage with the parsed options; writes and returns the reference."""
    if options.store:
        os.environ[STORE] = options.store
    os.environ.setdefault(STORE, (options.output.absolute().parent / "store").as_uri())
    inputs: dict[str, list[Reference]] = {}
    for given in options.input:
        name, equals, path = given.partition("=")
        if not equals:
            raise BadInput(f"--input {given!r} is not of the form NAME=PATH.")
        inputs.setdefault(name, []).append(_reference(Path(path)))
    configuration = canonical_json(_read(options.config))
    outcome = run_step(Step(stage, stage, configuration, inputs), default_store())
    outcome.reference.save(options.output)
    print(f"{stage}: {'found' if outcome.cached else 'made'} {outcome.reference.uri}")
    return outcome.reference


def _reference(path: Path) -> Reference:
    return adopt(path) if path.is_dir() else Reference.load(path)


def adopt(folder: Path) -> Reference:
    """A reference to a folder that no step made: its files are committed to the store as they are.

    Raises BadInput for an empty folder and for symbolic links, which lead to files that nobody meant to share.
    """
    if (folder / MANIFEST).is_file():
        verify(folder)
        return read_manifest(folder)
    paths = sorted(folder.rglob("*"))
    if link := next((path for path in paths if path.is_symlink()), None):
        raise BadInput(f"{link} is a symbolic link; give a copy of {folder} made with `cp -rL`.")
    files = {path.relative_to(folder).as_posix(): file_digest(path) for path in paths if path.is_file()}
    if not files:
        raise BadInput(f"{folder} holds no files; give a folder with data or a model, or a reference file.")
    return default_store().produce(
        Provenance("adopted", "", "", {"files": [f"{k}={v}" for k, v in files.items()]}), _copy(folder)
    )


def _copy(folder: Path) -> Any:
    def work(output: Path) -> dict[str, str]:
        shutil.copytree(folder, output, dirs_exist_ok=True)
        return {"adopted": folder.name}

    return work


def _read(path: Path | None) -> Any:
    if path is None:
        return {}
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"{path} is not readable as YAML or JSON: {' '.join(str(error).split())}.") from error
