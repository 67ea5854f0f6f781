"""The thread that decodes: it takes waiting sequences into a running batch and hands out text as it comes."""

import asyncio
import copy
import random
import secrets
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from components.common.decoding import end_tokens
from serving.batch import Batch, Tokens
from serving.limits import Limits, too_busy
from serving.logprobs import NotFiniteError, Scored, read_prompt, score
from serving.sampling import Sampling, choose
from serving.text import Detokenizer, StopFilter


@dataclass(frozen=True)
class Piece:
    """New text of one sequence. ``finish_reason`` is "stop" or "length" on the last piece, "error" after a failure.

    The last piece has the log-probabilities of the whole sequence, where they were asked for.
    """

    index: int
    text: str
    tokens: int
    finish_reason: str | None = None
    scored: tuple[Scored, ...] = ()


NOT_FINITE = "The model could not answer: its logits are not finite numbers."
Deliver = Callable[[Piece], None]


class EngineError(RuntimeError):
    """The model could not compute an answer; the sentence says why."""


@dataclass
class _Row:
    """A sequence on its way: what was asked, what came out, and where it goes."""

    index: int
    prompt: Tokens
    sampling: Sampling
    deliver: Deliver
    detokenizer: Detokenizer
    stops: StopFilter
    numbers: random.Random
    tokens: list[int] = field(default_factory=list)
    scored: list[Scored] = field(default_factory=list)
    cancelled: bool = False
    done: bool = False

    @property
    def size(self) -> int:
        return len(self.prompt) + self.sampling.max_tokens

    def push(self, token: int, end: frozenset[int]) -> Piece | None:
        """Take in the next token; the piece to deliver, if any text came loose or the sequence ended."""
        self.tokens.append(token)
        text = "" if token in end else self.stops.push(self.detokenizer.push(token))
        if self.stops.stopped:
            return self._last(text, "stop")
        if token in end or len(self.tokens) >= self.sampling.max_tokens:
            text += self.stops.push(self.detokenizer.finish()) + self.stops.finish()
            return self._last(text, "stop" if token in end or self.stops.stopped else "length")
        return Piece(self.index, text, len(self.tokens)) if text else None

    def _last(self, text: str, reason: str) -> Piece:
        self.done = True
        return Piece(self.index, text, len(self.tokens), reason, tuple(self.scored))


class Engine:
    """Continuous batching: every step decodes one token of each row, then rows come and go.

    A row's tokens depend on its own prompt, settings and random numbers; who shares the batch changes nothing but the
    last bits of floating-point sums.
    """

    def __init__(self, model: Any, tokenizer: Any, limits: Limits) -> None:
        self._model, self._limits = model, limits
        self._backend = copy.deepcopy(tokenizer.backend_tokenizer)  # the encoder's threads change settings of theirs
        self._end = end_tokens(model, tokenizer)
        self._batch = Batch(model)
        self._rows: list[_Row] = []
        self._waiting: deque[_Row] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Start the decoding thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the decoding thread after the step in hand; sequences still running are told of an error."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether the thread is decoding or would."""
        return self._thread.is_alive() and not self._stopping

    @property
    def running(self) -> int:
        """How many sequences are being decoded."""
        return len(self._rows)

    @property
    def waiting(self) -> int:
        """How many sequences wait for room in the batch."""
        return len(self._waiting)

    async def pieces(self, prompts: Sequence[Tokens], sampling: Sampling) -> AsyncGenerator[Piece, None]:
        """One sequence per prompt, their pieces as they come; ends with the last sequence.

        Closing the iterator early cancels what still runs. Raises Refused (429) when too many sequences wait, and
        EngineError when the model cannot answer.
        """
        queue: asyncio.Queue[Piece] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        with self._submitted(prompts, sampling, lambda piece: _hand_over(loop, queue, piece)):
            left = len(prompts)
            while left:
                piece = await queue.get()
                if piece.finish_reason == "error":
                    raise EngineError(piece.text)
                left -= piece.finish_reason is not None
                yield piece

    @contextmanager
    def _submitted(self, prompts: Sequence[Tokens], sampling: Sampling, deliver: Deliver) -> Iterator[None]:
        seed = secrets.randbits(63) if sampling.seed is None else sampling.seed
        rows = [self._row(i, prompt, replace(sampling, seed=seed), deliver) for i, prompt in enumerate(prompts)]
        with self._changed:
            if len(self._waiting) + len(rows) > self._limits.queue:
                raise too_busy(self._limits.queue)
            self._waiting.extend(rows)
            self._changed.notify()
        try:
            yield
        finally:
            for row in rows:
                row.cancelled = True

    def _row(self, index: int, prompt: Tokens, sampling: Sampling, deliver: Deliver) -> _Row:
        numbers = random.Random(f"{sampling.seed}/{index}")
        return _Row(index, prompt, sampling, deliver, Detokenizer(self._backend), StopFilter(sampling.stop), numbers)

    def _run(self) -> None:
        while not self._stopping:
            joining = self._admit()
            try:
                self._step(joining)
            except Exception as error:  # whatever torch raises: the clients hear of it, the server lives on
                self._fail([*self._rows, *joining], f"The model could not answer: {type(error).__name__}: {error}")
        self._fail([*self._rows, *self._waiting], "The server has stopped.")

    def _admit(self) -> list[_Row]:
        """Wait for work; the waiting rows for which there is room, first come first served."""
        with self._changed:
            self._changed.wait_for(lambda: self._rows or self._waiting or self._stopping)
            joining: list[_Row] = []
            while self._waiting and (self._waiting[0].cancelled or self._fits(joining, self._waiting[0])):
                row = self._waiting.popleft()
                if not row.cancelled:
                    joining.append(row)
            return joining

    def _fits(self, joining: list[_Row], row: _Row) -> bool:
        rows = [*self._rows, *joining, row]
        padded = len(rows) * max(each.size for each in rows)
        return len(rows) == 1 or (len(rows) <= self._limits.batch and padded <= self._limits.batch_tokens)

    def _step(self, joining: list[_Row]) -> None:
        """Decode one token of each running row, prefill those that join, and drop those that ended."""
        self._drop_finished()
        if self._rows:
            self._advance(self._rows, self._batch.step([row.tokens[-1] for row in self._rows]))
        read = [row for row in joining if row.sampling.reads_prompt]
        for row in read:
            self._read(row)
        joining = [row for row in joining if not row.sampling.reads_prompt]
        going_on = [row for row in read if not row.done]
        if joining or going_on:
            logits = self._batch.add([row.prompt for row in (*joining, *going_on)])
            self._advance(joining, logits[: len(joining)])
            self._rows = [*self._rows, *joining, *going_on]

    def _read(self, row: _Row) -> None:
        """Score a prompt and choose the token after it; most such rows end with that and never join the batch."""
        try:
            row.scored, logits = read_prompt(self._model, row.prompt, row.sampling.logprobs or 0)
        except NotFiniteError:
            self._fail_row(row, NOT_FINITE)
        else:
            self._advance([row], logits)

    def _advance(self, rows: Sequence[_Row], logits: Any) -> None:
        """Give every row its next token; a row whose logits are not finite fails alone."""
        sound = [number for number, good in enumerate(logits.isfinite().all(dim=-1).tolist()) if good]
        for number in set(range(len(rows))) - set(sound):
            self._fail_row(rows[number], NOT_FINITE)
        rows = [rows[number] for number in sound]
        uniforms = [row.numbers.random() for row in rows]
        logits = logits[sound]
        tokens = choose(logits, [row.sampling for row in rows], uniforms)
        for number, (row, token) in enumerate(zip(rows, tokens, strict=True)):
            if row.sampling.logprobs is not None:
                row.scored += score(logits[number : number + 1], [token], row.sampling.logprobs)
            if not (row.done or row.cancelled) and (piece := row.push(token, self._end)) is not None:
                row.deliver(piece)

    def _drop_finished(self) -> None:
        kept = [number for number, row in enumerate(self._rows) if not (row.done or row.cancelled)]
        if len(kept) < len(self._rows):
            self._batch.keep(kept)
            self._rows = [self._rows[number] for number in kept]

    def _fail(self, rows: Sequence[_Row], message: str) -> None:
        for row in rows:
            self._fail_row(row, message)
        self._rows = []
        self._batch = Batch(self._model)

    def _fail_row(self, row: _Row, message: str) -> None:
        if not row.done:
            row.done = True
            row.deliver(Piece(row.index, message, len(row.tokens), "error"))


def _hand_over(loop: asyncio.AbstractEventLoop, queue: "asyncio.Queue[Piece]", piece: Piece) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(queue.put_nowait, piece)
