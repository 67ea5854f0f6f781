"""``expanse serve``: the KServe predictor on this machine."""

import argparse
from pathlib import Path

HELP = "the KServe predictor on this machine"


def configure(command: argparse.ArgumentParser) -> None:
    """The options of the command."""
    command.add_argument("model", type=Path, help="a model folder: config.json, tokenizer and safetensors")
    command.add_argument("--port", type=int, default=8080, help="0 takes a free one (default: %(default)s)")
    command.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    command.add_argument("--name", default="expanse", help="the model's name in requests (default: %(default)s)")


def execute(options: argparse.Namespace) -> None:
    """Serve until interrupted."""
    from serving.predictor import serve

    serve(options.model, options.name, options.host, options.port)
