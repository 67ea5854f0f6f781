"""Prometheus metrics of all inference routes, on KServe's /metrics."""

from collections.abc import Callable

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("expanse_requests", "Requests answered, by route and status code.", ["route", "code"])
SECONDS = Histogram(
    "expanse_request_seconds",
    "Seconds from the request's first byte to the answer's last, by route.",
    ["route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
)
FIRST_TOKEN = Histogram(
    "expanse_first_piece_seconds",
    "Seconds from a request's acceptance to its first piece of text.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
TOKENS = Counter("expanse_tokens", "Tokens read (prompt) and written (completion).", ["kind"])
CANCELLED = Counter("expanse_cancelled_requests", "Requests whose client left before the answer was complete.")
RUNNING = Gauge("expanse_running_sequences", "Sequences being decoded.")
WAITING = Gauge("expanse_waiting_sequences", "Sequences waiting for room in the batch.")

ROUTES = {
    "/openai/v1/chat/completions": "chat",
    "/openai/v1/completions": "completions",
    "/openai/v1/models": "models",
}


def route_of(path: str) -> str:
    """A label for a path, from a fixed set, so that no client can make new time series."""
    if path in ROUTES:
        return ROUTES[path]
    if path.startswith("/v1/models/") and path.endswith(":predict"):
        return "v1"
    return "v2" if path.startswith("/v2/models/") and path.endswith("/infer") else "other"


def observe(running: Callable[[], int], waiting: Callable[[], int]) -> None:
    """Have the gauges read the engine when they are scraped."""
    RUNNING.set_function(running)
    WAITING.set_function(waiting)
