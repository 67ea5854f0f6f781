"""``python -m serving MODEL_DIR``: the predictor on this machine."""

import argparse
import sys
from pathlib import Path

from components.common.errors import ExpanseError
from serving.predictor import DEFAULT_PORT, LOOPBACK, serve, stop_with


def main() -> int:
    """Serve until told to stop; 2 when the input is refused."""
    parser = argparse.ArgumentParser(prog="python -m serving", description="Serve a model folder.")
    parser.add_argument("model", type=Path, metavar="MODEL_DIR")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 takes a free port")
    parser.add_argument("--host", default=LOOPBACK)
    parser.add_argument("--name", help="the model's name in requests (the folder's name)")
    parser.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    try:
        if arguments.parent is not None:
            stop_with(arguments.parent)
        serve(arguments.model, arguments.name, arguments.host, arguments.port)
    except ExpanseError as error:
        print(f"expanse: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
