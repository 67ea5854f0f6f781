"""A model's chat template is a program from outside: it is tried in a process of its own, within bounds, before it is used.

transformers compiles templates in Jinja's sandbox, which stops what reaches for Python's internals but neither endless
loops nor output without end.
"""

import os
import resource
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from components.common.errors import BadInput

CPU_SECONDS, WALL_SECONDS = 5, 60
MEMORY = 1 << 30  # bytes beyond what this process has
LONGEST = 100_000  # characters around a few words of conversation
CONVERSATIONS = (
    [{"role": "user", "content": "One word."}],
    [{"role": "user", "content": "One word."}, {"role": "assistant", "content": "Yes."}],
)
#: What was found wrong with each template that this process has tried, "" for nothing.
_TRIED: dict[str, str] = {}


def check_chat_template(tokenizer: Any) -> None:
    """Raise BadInput for a chat template that leaves its sandbox, does not end, or writes without end.

    One that merely refuses a conversation passes: that is said where the conversation matters.
    """
    template = str(tokenizer.chat_template or "")
    if template not in _TRIED:
        _TRIED[template] = _in_bounds(lambda: _fault(tokenizer)) if template else ""
    if _TRIED[template]:
        raise BadInput(f"The chat template of {tokenizer.name_or_path} {_TRIED[template]}; replace it.")


@contextmanager
def refusals_explained(tokenizer: Any) -> Iterator[None]:
    """Raise BadInput where a template refuses a conversation or fails at it."""
    from jinja2 import TemplateError

    try:
        yield
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
        raise BadInput(f"The chat template of {tokenizer.name_or_path} refuses a conversation: {reason}.") from error


def _fault(tokenizer: Any) -> str:
    from jinja2.exceptions import SecurityError

    for conversation in CONVERSATIONS:
        try:
            text = tokenizer.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False)
        except SecurityError as error:
            return f"reaches out of its sandbox ({error})"
        except MemoryError:
            return f"needs more than {MEMORY:,} bytes for a few words"
        except Exception:  # it refuses this conversation, in whatever way
            continue
        if len(text) > LONGEST:
            return f"writes {len(text):,} characters around a few words"
    return ""


def _in_bounds(work: Callable[[], str]) -> str:
    """What ``work`` returns in a forked process, or what bound it broke; its CPU seconds and its memory are limited."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _limit()
            os.write(writer, b"." + work().encode()[:4000])
        finally:  # whatever happens, the child must not go on in the parent's place
            os._exit(0)
    os.close(writer)
    try:
        ready = select.poll()
        ready.register(reader)
        answer = os.read(reader, 1 << 16) if ready.poll(WALL_SECONDS * 1000) else b""
    finally:
        os.close(reader)
        with suppress(ProcessLookupError, ChildProcessError):  # where SIGCHLD is ignored the kernel has reaped it
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return answer[1:].decode() if answer else f"does not end within {CPU_SECONDS} seconds, or breaks the interpreter"


def _limit() -> None:
    """Bound this process, within the bounds that it has already: those cannot be raised."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    memory = pages * resource.getpagesize() + MEMORY
    for kind, wanted in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, CPU_SECONDS), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(kind)[1]
        bound = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (bound, bound))
