"""How often Redis had the answer about KPIs, for Prometheus."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily

from chillflow.errors import PortUnusable
from chillflow.metrics import KPI_READS
from chillflow.stores.answers import Answers


class KpiReadCounts:
    """Reads the counts, which are everybody's, whenever it is asked; no sample while Redis does not tell."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily(KPI_READS.name, KPI_READS.help, labels=KPI_READS.labels)
        if (counts := self._answers.counts()) is not None:
            family.add_metric(["redis"], counts.remembered)
            family.add_metric(["postgresql"], counts.asked - counts.remembered)
        yield family


@contextmanager
def exposed(address: tuple[str, int] | None, redis_url: str | None) -> Iterator[None]:
    """Answers Prometheus at http://`address`/metrics in the block; without one, nobody. Raises PortUnusable."""
    if address is None:
        yield
        return
    (host, port), registry = address, CollectorRegistry()
    with closing(Answers(redis_url)) as answers:
        registry.register(KpiReadCounts(answers))
        try:
            server, thread = start_http_server(port, host, registry)
        except OSError as error:
            raise PortUnusable(host, port, error.strerror or str(error)) from error
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
