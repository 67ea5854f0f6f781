"""The process that steps are forked from: it has imported torch, transformers and TRL once.

That takes five to ten seconds, and a laptop run has some fifty steps (docs/decisions/0002-warm-worker.md).
"""

import gc
import importlib
import sys
import traceback
from dataclasses import asdict

from components.common import forking
from components.common.artifacts import Reference
from components.common.errors import ExpanseError, Transient, error_of
from components.common.step import Outcome, Step, default_store, run_step

KILLED = "was killed (out of memory?); run the same command again to resume, with fewer --jobs if memory is short."
PRELOAD = (
    "pyarrow.parquet",
    "sacrebleu",
    "torch",
    "transformers.models.cohere.modeling_cohere",
    "transformers.models.auto.tokenization_auto",
    "transformers.generation.utils",
    "trl.trainer.sft_trainer",
    "trl.trainer.dpo_trainer",
)


def ask(address: str, step: Step) -> Outcome:
    """Have the worker at the Unix socket ``address`` run a step, its output appearing on our own; raises its error."""
    answer = forking.ask(address, {"step": step.to_json()})
    if answer is None:
        raise Transient(f"The process of {step.name} {KILLED}")
    if "error" in answer:
        raise error_of(answer["exit_code"], answer["error"])
    return Outcome(Reference(**answer["reference"]), answer["cached"], answer["started"], answer["ended"])


def preload() -> None:
    """The slow imports."""
    for module in PRELOAD:
        importlib.import_module(module)
    gc.freeze()  # keep the shared pages of the imported modules out of the children's garbage collections


def run(message: forking.Message) -> forking.Message:
    """Run one step in this process; the outcome, or the error, as plain data."""
    try:
        outcome = run_step(Step.from_json(message["step"]), default_store())
        return {**asdict(outcome), "reference": asdict(outcome.reference)}
    except ExpanseError as error:
        return {"error": str(error), "exit_code": error.exit_code}
    except BaseException as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}", "exit_code": 1}


if __name__ == "__main__":
    forking.serve(int(sys.argv[1]), preload, run)
