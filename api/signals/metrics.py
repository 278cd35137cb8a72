"""Metrics of one server for Prometheus, in its own registry; never labelled by deployment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_LATEST
UNMATCHED = "unmatched"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE"})


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The ledger at the moment of a scrape."""

    head: int
    """Position of the newest durable event."""
    followed: int
    """Position that the read models have reached."""
    deployments: Mapping[str, int]
    """Status to the number of deployments that stand so."""
    waiting_appends: int
    """Appends in the writer's queue."""


class Metrics:
    """What is counted, and its text."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self._ledger = _Ledger()
        self.registry.register(self._ledger)
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "shipslog_http_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._durations = Histogram(
            "shipslog_http_request_duration_seconds",
            "Time from a request's headers to its answer.",
            ("method", "route"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.streams = Gauge(
            "shipslog_event_streams", "Open streams of events.", registry=self.registry
        )
        # Looking a child up by its labels costs more than counting does.
        self._counters: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request; `route` is the template of its path, or UNMATCHED."""
        known = self._counters.get((method, route, status))
        if known is None:
            known = self._children(method, route, status)
        counter, histogram = known
        counter.inc()
        histogram.observe(seconds)

    def text(self, figures: Figures) -> bytes:
        """Return everything in Prometheus' text format."""
        self._ledger.figures = figures
        return generate_latest(self.registry)

    def _children(self, method: str, route: str, status: int) -> tuple[Counter, Histogram]:
        named = method if method in _METHODS else "other"
        children = (
            self._requests.labels(named, route, str(status)),
            self._durations.labels(named, route),
        )
        if named == method:
            self._counters[method, route, status] = children
        return children


class _Ledger(Collector):
    """Figures that are asked for at a scrape and not kept."""

    figures: Figures | None = None

    def collect(self) -> Iterator[Metric]:
        figures = self.figures
        if figures is None:
            return
        yield CounterMetricFamily("shipslog_events", "Events in the log.", figures.head)
        lag = max(0, figures.head - figures.followed)
        yield GaugeMetricFamily("shipslog_follower_lag_events", "Events not yet in views.", lag)
        yield GaugeMetricFamily(
            "shipslog_append_queue_depth", "Appends that wait.", figures.waiting_appends
        )
        statuses = GaugeMetricFamily(
            "shipslog_deployments", "Deployments by status.", labels=("status",)
        )
        for status, count in sorted(figures.deployments.items()):
            statuses.add_metric((status,), count)
        yield statuses
