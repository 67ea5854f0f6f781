"""Likelihoods of multiple-choice options: ours against lm-eval's HFLM, the same values first, then interleaved runs.

    python -m benchmarks.likelihood --lm-eval PYTHON [--runs N]

``--lm-eval`` (or LM_EVAL_PYTHON) is the Python of an environment with lm-eval and this project's torch and transformers.
The model has random weights and Aya's vocabulary of 256,000, which makes the last layer what it costs; half of the questions
have the letters A to D as options, as Global-MMLU has, half have short texts, as XCOPA has. Every run is a process of its own
that has loaded the model before the clock starts; both tokenise within it, at the same batch size. Memory is the peak of the
process.
"""

import argparse
import importlib.metadata
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import Run, Runs, measure, ratios, save, timed

QUESTIONS, BATCH, VOCABULARY = 40, 8, 256_000
TOLERANCE = 1e-3  # in log-likelihood: float32 sums in another order

READ = """
import logging
logging.disable(logging.WARNING)
folder, output = map(Path, sys.argv[1:])
pairs = [tuple(pair) for pair in json.loads((folder / "pairs.json").read_text())]
"""
OURS = timed(
    prepare=READ
    + """
from components.common.models import load_causal_lm
from components.evaluation.likelihood import log_likelihoods
from components.evaluation.multiple_choice import encode_plain
model, tokenizer = load_causal_lm(folder / "model")
""",
    work=f"""
found = log_likelihoods(model, encode_plain(tokenizer, pairs), {BATCH})
output.write_text(json.dumps(found))
""",
)
THEIRS = timed(
    prepare=READ
    + f"""
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
model = HFLM(pretrained=str(folder / "model"), device="cpu", dtype="float32", batch_size={BATCH}, add_bos_token=True)
requests = [Instance("loglikelihood", {{}}, (head, " " + tail), index) for index, (head, tail) in enumerate(pairs)]
""",
    work="""
found = [value for value, _ in model.loglikelihood(requests, disable_tqdm=True)]
output.write_text(json.dumps(found))
""",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lm-eval", default=os.environ.get("LM_EVAL_PYTHON", sys.executable))
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    subjects = {"ours": (sys.executable, OURS), "lm-eval": (options.lm_eval, THEIRS)}
    version = version_of(options.lm_eval)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_model(folder / "model")
        (folder / "pairs.json").write_text(json.dumps(make_pairs()))
        runs: Runs = {subject: [] for subject in subjects}
        for number in range(options.runs + 1):  # the first round is compared, not measured
            for subject, (python, code) in subjects.items():
                run: Run = measure(python, code, [folder, folder / f"{subject}.json"])
                if number:
                    runs[subject].append(run)
            assert same_values(folder), "the two do not agree: nothing to compare"
    report(runs, version)


def make_model(folder: Path) -> None:
    """A Cohere model of four layers, hidden 256, with a byte-level tokenizer."""
    import torch
    from transformers import CohereConfig, CohereForCausalLM

    from components.miniature.tokenizer import train_tokenizer

    tokenizer = train_tokenizer([" ".join(words(random.Random(index), 30)) for index in range(200)], 1000)
    config = CohereConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=896,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=8192,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(0)
    CohereForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def make_pairs() -> list[tuple[str, str]]:
    """Context and continuation of every option: questions of 40 to 120 words, four options each."""
    pairs = []
    for number in range(QUESTIONS):
        source = random.Random(number)
        context = " ".join(words(source, source.randint(40, 120))) + " Answer:"
        options = list("ABCD") if number % 2 else [" ".join(words(source, source.randint(3, 8))) for _ in range(4)]
        pairs += [(context, option) for option in options]
    return pairs


def words(source: random.Random, count: int) -> list[str]:
    return ["".join(source.choices("abdegiklmnoprstu", k=source.randint(2, 7))) for _ in range(count)]


def same_values(folder: Path) -> bool:
    ours, theirs = (json.loads((folder / f"{subject}.json").read_text()) for subject in ("ours", "lm-eval"))
    return all(abs(a - b) <= TOLERANCE for a, b in zip(ours, theirs, strict=True))


def version_of(python: str) -> str:
    code = "import importlib.metadata as m; print(m.version('lm_eval'))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{python} has no lm-eval; name the Python of an environment that has it with --lm-eval.")
    return done.stdout.strip()


def report(runs: Runs, version: str) -> None:
    result = {
        "subject": f"components.evaluation, {QUESTIONS} questions of four options, vocabulary {VOCABULARY}, batches of {BATCH}",
        "rival": f"lm-eval {version}, HFLM.loglikelihood, the same batches",
        "equal": True,
        "tolerance": TOLERANCE,
        **ratios(runs, "lm-eval"),
        "runs": runs,
        "versions": {"lm_eval": version, "torch": importlib.metadata.version("torch")},
    }
    save("likelihood", ("transformers",), result)


if __name__ == "__main__":
    main()
