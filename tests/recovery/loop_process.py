"""An assembler without Ray, as a process that ends itself at a step: `python -m tests.recovery.loop_process JSON`.

The JSON names the services, the topic, and `crash`: the step after whose `times`-th doing the process is gone at once.
"""

import json
import os
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from chillflow.actors.loop import Loop, Options
from chillflow.assembly import Limits
from chillflow.clock import SystemClock
from chillflow.stores.assembling import PostgresTripStore
from chillflow.stores.checkpoints import RedisCheckpoints
from chillflow.stores.eventlog import KafkaReader, describe

CRASHED = 86
GROUP = "chillflow"


def main() -> None:
    given = json.loads(sys.argv[1])
    kafka = {"bootstrap.servers": given["kafka"]}
    store = PostgresTripStore(given["dsn"])
    topic = describe(kafka, given["topic"])
    group = store.take_group(GROUP, topic, None)
    options = Options(batch=20, patience=0.05, snapshot_every=0.0, limits=Limits(open_trips=8, written=16))
    loop = Loop(
        "x", KafkaReader(kafka, topic.name), store, RedisCheckpoints(given["redis"]), SystemClock(), options,
        ThreadPoolExecutor(1), lambda text: print(text, file=sys.stderr),
    )  # fmt: skip
    for partition in range(topic.partitions):
        loop.assign(group, partition)
    done: Counter[str] = Counter()
    while not loop.ended:
        for step in loop.turn():
            done[step] += 1
            if step == given.get("crash") and done[step] == given["times"]:
                os._exit(CRASHED)
        partitions = loop.status().partitions
        if partitions and all(status.caught_up for status in partitions):
            loop.drain(spill=True)


if __name__ == "__main__":
    main()
