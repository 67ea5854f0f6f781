"""A model behind an OpenAI-compatible endpoint that answers and whose likelihoods are read."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import cached_property
from typing import Any

from components.common.artifacts import Reference
from components.common.endpoint import Call, EndpointEngine, chat_calls
from components.common.inference import BringUp, storage_uri
from components.common.inputs import REFERENCE, Inputs, one
from components.common.journal import Journal
from components.common.sampling import Sample, SamplingSettings
from components.evaluation.echoed import context_of, probe, score_call, scores_of
from components.evaluation.likelihood import Request, Row
from components.evaluation.settings import Config
from components.evaluation.tokenizers import OwnTokenizer, load_own_tokenizer

#: Stands for the endpoint while only the journal is asked.
NOBODY = EndpointEngine("", "")
#: What the journal knows the length of the endpoint's context by.
CONTEXT = "context"


class RemoteEngine:
    """Asks the endpoint that the configuration names, which is brought up when the journal lacks an answer."""

    def __init__(self, config: Config, inputs: Inputs, journal: Journal, bring_up: BringUp, opened: ExitStack) -> None:
        self._config, self._inputs, self._journal = config, inputs, journal
        self._bring_up, self._opened = bring_up, opened

    def write(self, prompts: Sequence[str], settings: SamplingSettings) -> list[Sample]:
        """See Engine.write."""
        return self._ask(lambda engine: chat_calls(engine.model, prompts, settings))

    def score(self, requests: Sequence[Request]) -> list[float]:
        """See Engine.score.

        Requests that differ in their last token alone are one question of the endpoint, as long as its likeliest tokens
        include theirs; the others are asked one by one.
        """
        limit = self._context
        rows = [_row(request, limit) for request in requests]
        last: dict[Row, dict[int, None]] = defaultdict(dict)
        for row, request in zip(rows, requests, strict=True):
            last[row][request.continuation[-1]] = None
        found = self._scores([(row, tuple(tokens)) for row, tokens in last.items()])
        found |= self._scores([(row, (t,)) for row, tokens in last.items() for t in tokens if (row, t) not in found])
        return [found[row, request.continuation[-1]] for row, request in zip(rows, requests, strict=True)]

    def _scores(self, asked: list[tuple[Row, tuple[int, ...]]]) -> dict[tuple[Row, int], float]:
        replies = self._ask(lambda engine: (score_call(engine, row, last) for row, last in asked))
        return {
            (row, token): score
            for (row, _), reply in zip(asked, replies, strict=True)
            for token, score in scores_of(reply).items()
        }

    def _ask(self, calls: Callable[[EndpointEngine], Iterable[Call]]) -> list[Sample]:
        keys = [call.key for call in calls(NOBODY)]
        if all(key in self._journal for key in keys):
            return [found for key in keys if (found := self._journal.find(key))]
        return self._engine.ask(calls(self._engine), self._journal)

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer and nothing else of the model."""
        return self._own.tokenizer

    @cached_property
    def _own(self) -> OwnTokenizer:
        return load_own_tokenizer(self._config.answers, self._inputs)

    @cached_property
    def _context(self) -> int | None:
        """The tokens that the endpoint's model reads and writes together; written down, so that a retry cuts alike."""
        known = self._journal.find(CONTEXT)
        if known is None:
            served = self._config.answers.served
            limits = [self._own.context, served.max_model_len if served else None, context_of(self._engine)]
            known = Sample(str(min((limit for limit in limits if limit), default=0)), "stop", 0)
            self._journal.add(CONTEXT, known)
        return int(known.text) or None

    @cached_property
    def _engine(self) -> EndpointEngine:
        """The endpoint; that it gives likelihoods, where they are needed, is seen before anything is paid for."""
        answers = self._config.answers
        scored = bool(self._config.of_kind("multiple_choice"))
        tokenizer = self.tokenizer if scored else None
        endpoint = answers.endpoint
        if answers.served:
            model = None if answers.served.source else Reference.load(one(self._inputs, "model") / REFERENCE)
            uri = storage_uri(answers.served, model)
            endpoint = self._opened.enter_context(self._bring_up(answers.served, uri, self._config.name))
        assert endpoint is not None, "the configuration's validation demands one of the two"
        engine = EndpointEngine.of(endpoint)
        if scored:
            probe(engine, tokenizer)
        return engine


def _row(request: Request, limit: int | None) -> Row:
    """All but the last token, and how many predictions count; cut on the left to leave room for two more tokens."""
    tokens = (request.context + request.continuation)[:-1]
    tokens = tokens[-(limit - 2) :] if limit else tokens
    return tokens, min(len(request.continuation), len(tokens))
