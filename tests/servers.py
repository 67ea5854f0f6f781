"""A tiny chat model and the predictor as a process, for the tests of serving and of deployment."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.tiny import save_tiny_cohere, tiny_tokenizer

NAME = "tiny"
START_SECONDS = 120
PROGRAM = (
    "import sys; from pathlib import Path; from serving.predictor import serve; from serving.limits import Limits;"
    "serve(Path(sys.argv[1]), '{name}', port=0, limits=Limits(**{limits}))"
)
TEXTS = (
    "hello world, how are you?",
    "Guten Tag, wie geht es dir?",
    "你好，世界",
    "שלום עולם",
    "مرحبا بالعالم",
    "🙂🙃🙂",
)


def save_chat_model(folder: Path, context: int = 2048) -> Path:
    """A Cohere model with random weights that rarely ends an answer."""
    from safetensors.torch import load_file, save_file

    save_tiny_cohere(folder, hidden_size=64, initializer_range=0.3, max_position_embeddings=context)
    weights = load_file(folder / "model.safetensors")
    weights["model.embed_tokens.weight"][tiny_tokenizer().all_special_ids] *= 0.01
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


@dataclass
class Server:
    """A running predictor."""

    process: "subprocess.Popen[bytes]"
    url: str
    log: Path

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def rss(self) -> int:
        """Resident memory in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) * 1024

    def cpu(self) -> float:
        """Seconds of processor time so far, in all threads: what a request costs however busy the machine is."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def start_server(model: Path, log: Path, **limits: float) -> Server:
    """Start the predictor on a free port and wait until it says that it is ready."""
    command = [sys.executable, "-c", PROGRAM.format(name=NAME, limits=limits), str(model)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if found := re.search(r"^Serving .+ at (http://\S+)/openai/v1$", log.read_text(), re.MULTILINE):
            return Server(process, found.group(1), log)
        if process.poll() is not None:
            break
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"the predictor did not start: {log.read_text()}")
