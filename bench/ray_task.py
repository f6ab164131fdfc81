"""What a Ray cluster runs of ours: tasks on its nodes, and the mailbox for what they say on the driver's."""

from __future__ import annotations

import contextlib
import importlib
from dataclasses import dataclass
from typing import Any

from bench import alike, node
from bench.attempts import Task
from bench.errors import BenchError, DiskFull, StoreError
from bench.node import Lacks, Luggage, Orders


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a task ended that came to its end.

    Attributes:
        said: How many words it sent to the mailbox.
        lacks: What it has to be brought, if it did nothing for that reason.
        refused: What ends the study.
    """

    said: int
    lacks: Lacks
    refused: BenchError | None


class Mailbox:
    """Holds what tasks say until the driver comes for it; an asyncio actor."""

    def __init__(self) -> None:
        self.words: list[tuple[int, Any]] = []
        self.some = importlib.import_module("asyncio").Event()

    async def put(self, number: int, word: object) -> None:
        """Take a word of a task."""
        self.words.append((number, word))
        self.some.set()

    async def take(self, wait: float) -> list[tuple[int, Any]]:
        """All words, as soon as there is one; none after a while [s]."""
        asyncio = importlib.import_module("asyncio")
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.some.wait(), wait)
        words, self.words = self.words, []
        self.some.clear()
        return words


def work(orders: Orders, number: int, task: Task, luggage: Luggage, mailbox: Any) -> Outcome:
    """A task: runs in a process of the cluster, whose output goes to a file meanwhile."""
    ray: Any = importlib.import_module("ray")
    said = 0

    def say(word: object, *, sure: bool = False) -> None:
        nonlocal said
        said += 1
        receipt = mailbox.put.remote(number, word)
        if sure:
            ray.get(receipt)

    say(ray.get_runtime_context().get_node_id())
    path = node.output(orders.run, luggage.number)
    try:
        with node.printed(path):
            lacks = node.work(orders, task, luggage, ray.get, lambda mail: say(mail, sure=bool(mail.files)))
    except (DiskFull, StoreError) as error:
        error = type(error)(f"On the node {alike.name()}: {error}")
        return Outcome(said=said, lacks=Lacks(), refused=error)
    except BenchError as error:
        return Outcome(said=said, lacks=Lacks(), refused=error)
    path.unlink(missing_ok=True)
    return Outcome(said=said, lacks=lacks, refused=None)


def tail(run: str, job: int) -> str:
    """The end of what a task printed that died on this node."""
    path = node.output(run, job)
    text = node.tail(path)
    path.unlink(missing_ok=True)
    return text
