"""Metrics of one server for Prometheus, in its own registry; never labelled by deployment."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from operator import add

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_LATEST
UNMATCHED = "unmatched"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BOUNDS = (*map(str, _SECONDS), "+Inf")
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
        self._requests = _Requests()
        self.registry.register(self._requests)
        self.streams = Gauge(
            "shipslog_event_streams", "Open streams of events.", registry=self.registry
        )
        self.exports = Gauge(
            "shipslog_exports", "Exports and manifests under way.", registry=self.registry
        )

    def counted(self, method: str, route: str, status: int) -> Counted:
        """Return where requests of this kind are counted; `route` is a path's template."""
        return self._requests.counted(method, route, status)

    def text(self, figures: Figures) -> bytes:
        """Return everything in Prometheus' text format."""
        self._ledger.figures = figures
        return generate_latest(self.registry)


class Counted:
    """Requests of one kind: how many took how long.

    One thread counts, so nothing is locked: a client library's own counters cost more than an
    answer from memory may.
    """

    __slots__ = ("seconds", "within")

    def __init__(self) -> None:
        self.within = [0] * (len(_SECONDS) + 1)
        """For each bound those above the one before and not above it; last, those above all."""
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.within[bisect_left(_SECONDS, seconds)] += 1
        self.seconds += seconds


class _Requests(Collector):
    """All requests, by method, route and status."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, int], Counted] = {}

    def counted(self, method: str, route: str, status: int) -> Counted:
        named = method if method in _METHODS else "other"
        return self._counts.setdefault((named, route, status), Counted())

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "shipslog_http_requests", "Requests answered.", labels=("method", "route", "status")
        )
        durations: dict[tuple[str, str], Counted] = {}
        for (method, route, status), one in sorted(self._counts.items()):
            requests.add_metric((method, route, str(status)), sum(one.within))
            together = durations.setdefault((method, route), Counted())
            together.within = list(map(add, together.within, one.within))
            together.seconds += one.seconds
        yield requests
        histogram = HistogramMetricFamily(
            "shipslog_http_request_duration_seconds",
            "Time from a request's headers to its answer.",
            labels=("method", "route"),
        )
        for labels, one in durations.items():
            buckets = list(zip(_BOUNDS, accumulate(one.within), strict=True))
            histogram.add_metric(labels, buckets, one.seconds)
        yield histogram


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
