"""What `/metrics` tells, in Prometheus' form; a registry of its own for each server."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_REFUSED = {
    401: "no token",
    403: "foreign host or page",
    408: "too slow",
    413: "too large",
    499: "client gone",
    503: "too much to do",
    504: "no answer in time",
}
_ROWS = (1, 2, 4, 8, 16, 32, 64)


disable_created_metrics()


class Metrics:
    """Counters of one server.

    Args:
        waiting, taken: asked for when the metrics are.
    """

    def __init__(self, waiting: Callable[[], float], taken: Callable[[], float]) -> None:
        self.registry = into = CollectorRegistry()
        self.requests = Counter("hangtag_requests", "Requests answered.", ["route", "status"], registry=into)
        about = "From a request's head to the end of its answer."
        self.seconds = Histogram("hangtag_request_seconds", about, ["route"], buckets=_SECONDS, registry=into)
        self.refused = Counter("hangtag_refused", "Requests refused, by reason.", ["reason"], registry=into)
        self.rows = Histogram(
            "hangtag_batch_pictures", "Pictures answered together, as each was begun.", buckets=_ROWS, registry=into
        )
        self.model = Counter("hangtag_model_seconds", "Time that the model worked.", registry=into)
        self.tokens = Counter("hangtag_tokens", "Tokens read and written.", ["kind"], registry=into)
        queue = Gauge("hangtag_queue_pictures", "Pictures that wait for the model.", registry=into)
        queue.set_function(waiting)
        accepted = Gauge("hangtag_accepted_pictures", "Pictures accepted and not yet answered.", registry=into)
        accepted.set_function(taken)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self.requests.labels(route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)
        if status in _REFUSED:
            self.refused.labels(_REFUSED[status]).inc()

    def ran(self, rows: Sequence[int], seconds: float) -> None:
        """Pictures were begun, each with so many together; the model worked so long."""
        for each in rows:
            self.rows.observe(each)
        self.model.inc(seconds)

    def spent(self, tokens: tuple[int, int]) -> None:
        """Prompt tokens and written tokens of an answer."""
        for kind, count in zip(("prompt", "written"), tokens, strict=True):
            self.tokens.labels(kind).inc(count)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)
