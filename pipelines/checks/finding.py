"""What a check says, and how many checks are run at once without one holding up the others."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from components.common.errors import BadInput, ExpanseError

#: "transient" may pass by itself; "skipped" means that it could not be looked at from here.
Status = Literal["ok", "warning", "failed", "transient", "skipped"]
LIMIT_SECONDS = 20.0


@dataclass(frozen=True)
class Finding:
    """``object`` is what was looked at ("Secret expanse/expanse-s3"), ``sentence`` what was found, ``remedy`` what to do.

    ``pin`` is what the recipe could say instead of a name that moves.
    """

    status: Status
    object: str
    sentence: str
    remedy: str = ""
    pin: str = ""

    @property
    def words(self) -> str:
        """Sentence and remedy as one."""
        return f"{self.sentence}; {self.remedy}." if self.remedy else self.sentence.rstrip(".") + "."


@dataclass(frozen=True)
class Check:
    """Looks at ``object``. ``look`` returns a finding, or raises BadInput or Transient with a sentence and a remedy."""

    object: str
    look: Callable[[], Finding]
    seconds: float = LIMIT_SECONDS


def ok(what: str, sentence: str) -> Finding:
    """All is well."""
    return Finding("ok", what, sentence)


def skipped(what: str, reason: str, remedy: str = "") -> Finding:
    """It could not be looked at."""
    return Finding("skipped", what, reason, remedy)


def run_checks(checks: Sequence[Check]) -> list[Finding]:
    """Look at everything at once; one finding per check, in their order.

    A check that takes longer than its seconds is given up and found "transient"; its thread ends with the process.
    """
    running = [_Running(check) for check in checks]
    return [each.finding() for each in running]


@dataclass
class _Running:
    check: Check
    found: Finding | None = None
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()

    def _look(self) -> None:
        what = self.check.object
        try:
            self.found = self.check.look()
        except ExpanseError as error:
            self.found = Finding("failed" if isinstance(error, BadInput) else "transient", what, str(error))
        except Exception as error:  # a check that breaks must not hide what the others found
            reason = f"the check itself failed ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
            self.found = Finding("failed", what, reason, "report this")

    def finding(self) -> Finding:
        """What was found, once there is something or the time is up."""
        self.thread.join(max(0.0, self.started + self.check.seconds - time.monotonic()))
        late = f"no answer within {self.check.seconds:g} seconds"
        return self.found or Finding(
            "transient", self.check.object, late, "see that it can be reached from here, try again"
        )
