"""lm-eval's own client of completions against the predictor, and against lm-eval's own model in process."""

from pathlib import Path
from typing import Any

import pytest

from tests.servers import NAME, TEXTS, Server

pytest.importorskip(
    "lm_eval", reason="lm-eval is not installed; pip install 'lm-eval[api]' beside the project to compare"
)
pytest.importorskip("tenacity", reason="lm-eval is installed without its client; pip install 'lm-eval[api]'")
pytestmark = pytest.mark.filterwarnings("default")  # lm-eval's own


def test_local_completions_reads_the_likelihoods_of_the_model_in_process(server: Server, model_folder: Path) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    from components.common.journal import Journal
    from components.common.models import load_causal_lm
    from components.evaluation.engines import LocalEngine
    from components.evaluation.multiple_choice import encode_plain

    client: Any = LocalCompletionsAPI(
        base_url=f"{server.url}/openai/v1/completions",
        model=NAME,
        tokenizer=str(model_folder),
        tokenizer_backend="huggingface",
        batch_size=3,
        max_length=2048,
    )
    pairs = [(text[:10], text[10:].strip()) for text in TEXTS if len(text) > 12]
    asked = [Instance("loglikelihood", {}, (context, f" {continuation}"), 0) for context, continuation in pairs]
    theirs = [score for score, _ in client.loglikelihood(asked, disable_tqdm=True)]
    engine = LocalEngine(*load_causal_lm(model_folder), 4, Journal())
    requests = [
        type(request)(
            tuple(token for token in request.context if token != engine.tokenizer.bos_token_id), request.continuation
        )
        for request in encode_plain(engine.tokenizer, pairs)
    ]
    assert theirs == pytest.approx(engine.score(requests), abs=1e-3)
