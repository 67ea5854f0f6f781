"""One step on several processes: ``torchrun -m components.common.distributed``, or without torchrun as a whole node.

Every rank runs the stage's function. Rank 0 asks the store whether the work is done, tells the others, and commits; what the
others write is thrown away. The step comes in the environment variable EXPANSE_STEP, or in the file that EXPANSE_STEP_FILE
names, as ``Step.to_json`` writes it.

Started without torchrun the process is the agent of one node: it starts the ranks as torchrun does (whose settings it takes
from PET_* or its arguments), exits with the code of the error that stopped them, and leaves that error's sentence where
Kubernetes keeps termination messages.
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from components.common.errors import BadInput, ExpanseError, Transient
from components.common.processes import local_rank, rank
from components.common.step import Step, code_digest, default_store, run_step
from components.common.together import Follower, Leader, Talk
from components.common.trainjobs.spec import CODE, LOST_PEER, STEP, STEP_FILE, TERMINATION_LOG

#: How long a collective of the training may take before the job counts as stuck, and is run again.
COMPUTE_TIMEOUT = timedelta(minutes=30)
ERROR_FILE = "TORCHELASTIC_ERROR_FILE"
#: What the communication libraries say when the process at the other end is gone.
PEER_LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Connection refused", "NCCL")


def main() -> None:
    """Be a rank under torchrun, the agent of a node otherwise."""
    if "RANK" in os.environ:
        _leave(run_rank())
    sys.exit(run_node(sys.argv[1:]))


def run_node(arguments: Sequence[str]) -> int:
    """Start the ranks of this node and wait for them; returns the exit code. ``arguments`` are torchrun's."""
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    try:
        run.main([*arguments, "-m", "components.common.distributed"])
    except ChildFailedError as error:
        return _report(*cause(error.failures.values()))
    except SignalException as error:
        return _report(f"This node was told to stop ({error.sigval.name}).", Transient.exit_code)
    return 0


def run_rank() -> int:
    """Run the step of the environment as one of its processes; returns the exit code."""
    try:
        _run()
    except ExpanseError as error:
        return _tell(str(error), error.exit_code)
    except Exception as error:
        traceback.print_exc()
        if isinstance(error, RuntimeError) and any(sign in str(error) for sign in PEER_LOST):
            return _tell(f"Rank {rank()} {LOST_PEER}; it is run again.", Transient.exit_code)
        return _tell(f"{type(error).__name__}: {' '.join(str(error).split())[:500]}", ExpanseError.exit_code)
    return 0


def read_step() -> Step:
    """The step of this job; raises BadInput when there is none, or when this is not the code that it was made for."""
    if path := os.environ.get(STEP_FILE):
        text = Path(path).read_text(encoding="utf-8")
    elif not (text := os.environ.get(STEP, "")):
        raise BadInput(f"There is no step to run: set {STEP} to its JSON, or {STEP_FILE} to a file with it.")
    step = Step.from_json(text)
    if os.environ.get(CODE, code_digest(step.stage)) != code_digest(step.stage):
        raise BadInput(
            f"The code of the {step.stage} stage in this image is not that of the launcher; use images of one version."
        )
    return step


def _run() -> None:
    import torch

    step = read_step()
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(local_rank())
    torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=COMPUTE_TIMEOUT)
    talk = Talk()
    if rank() == 0:
        leader = Leader(default_store(), talk)
        run_step(step, leader)
        leader.dismiss()
    else:
        run_step(step, Follower(default_store(), talk))
    talk.meet()  # nobody leaves before the work is committed: whatever ends this job early makes all of it start again
    torch.distributed.destroy_process_group()


def _tell(sentence: str, code: int) -> int:
    """Say what stopped this rank, to people and to the agent of its node."""
    print(f"expanse: rank {rank()}: {sentence}", flush=True)
    if path := os.environ.get(ERROR_FILE):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps({"message": sentence, "timestamp": int(time.time())}), encoding="utf-8")
    return code


def cause(failures: Any) -> tuple[str, int]:
    """Of all ranks that ended, the error that explains the others: a refusal first, a signal last.

    A rank that lost another one knows least, but a signal may be torchrun's own, to the ranks that were left.
    """
    order = {BadInput.exit_code: 0, ExpanseError.exit_code: 1, Transient.exit_code: 2}
    first = min(
        failures,
        key=lambda failure: (order.get(failure.exitcode, 3), LOST_PEER in failure.message, failure.timestamp),
    )
    if first.exitcode in order:
        return first.message, first.exitcode
    return (
        f"Local rank {first.local_rank} was killed ({first.signal_name()}): out of memory, or stopped from outside.",
        Transient.exit_code,
    )


def _report(sentence: str, code: int) -> int:
    """Leave the error where Kubernetes reads it when the container ends; returns ``code``."""
    print(f"expanse: {sentence}", flush=True)
    path = Path(os.environ.get(TERMINATION_LOG, "/dev/termination-log"))
    if path.exists():
        words = {"error": sentence[:1000], "exit_code": code}  # Kubernetes keeps 4096 bytes
        path.write_text(json.dumps(words, ensure_ascii=False), encoding="utf-8")
    return code


def _leave(code: int) -> None:
    """End at once: after an error an orderly exit can wait for ever for ranks that are gone."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
