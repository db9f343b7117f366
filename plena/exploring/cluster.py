"""Where points are evaluated: processes of this machine, or the workers of a scheduler that runs already."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from plena.errors import PlenaError

if TYPE_CHECKING:
    from distributed import Client

ANSWER_SECONDS = 10
"""How long a scheduler may take to answer."""

START_SECONDS = 120
"""How long the first worker may take to start."""

ORPHAN_SECONDS = 30
"""How long a worker lives without its scheduler."""

LOG_VARIABLE = "DASK_LOGGING__DISTRIBUTED"
"""What processes that are started read."""

DEATHS = 1
"""How many workers may die of a task before it is given up: it is tried again once."""


@contextmanager
def client_of(scheduler: str | None, workers: int | None) -> Generator[Client]:
    """A client of the scheduler at an address, else of a cluster of its own.

    Args:
        workers: processes, by default one per processor; 0 evaluates in this process.

    Raises:
        PlenaError: the scheduler does not answer, or there is no worker.
    """
    import dask
    from distributed import Client

    quiet = {"distributed.scheduler.worker-saturation": 1.0, "distributed.scheduler.allowed-failures": DEATHS}
    with dask.config.set(quiet), _silent_logs():
        if scheduler is not None:
            try:
                client = Client(scheduler, timeout=ANSWER_SECONDS, set_as_default=False)
            except (OSError, ValueError, TimeoutError) as error:
                raise PlenaError(
                    f"no scheduler answers: {type(error).__name__}",
                    scheduler,
                    "Start one with `dask scheduler`, and give its address, as tcp://127.0.0.1:8786.",
                ) from None
            with client:
                _await_workers(client, scheduler)
                yield client
        elif workers == 0:
            with Client(
                processes=False,
                n_workers=1,
                threads_per_worker=1,
                dashboard_address=None,
                set_as_default=False,
            ) as client:
                yield client
        else:
            cluster = _cluster(workers or os.cpu_count() or 1)
            with cluster, Client(cluster, set_as_default=False) as client:
                _await_workers(client, "workers")
                yield client


def revive(client: Client) -> None:
    """Starts processes again that are gone: a worker that dies is started by its nanny, as long as that lives."""
    cluster: Any = client.cluster
    if cluster is None:
        return
    gone = [name for name, worker in cluster.workers.items() if _is_gone(worker)]
    if gone:
        cluster.sync(_forget, cluster, gone)
        cluster.scale(len(cluster.worker_spec))


def _is_gone(worker: Any) -> bool:
    process = getattr(worker, "process", None)
    return getattr(process, "returncode", None) is not None


async def _forget(cluster: Any, names: list[Any]) -> None:
    for name in names:
        cluster.workers.pop(name, None)


def _cluster(workers: int) -> Any:
    """Processes that a command starts: those of multiprocessing would run the user's script again."""
    from distributed import Scheduler
    from distributed.deploy.spec import SpecCluster
    from distributed.deploy.subprocess import SubprocessWorker

    options = {
        "nthreads": 1,
        "death_timeout": ORPHAN_SECONDS,
        "silence_logs": logging.CRITICAL,
        "memory_limit": 0,
        "dashboard": False,
    }
    worker = {"cls": SubprocessWorker, "options": {"worker_kwargs": options}}
    scheduler = {
        "cls": Scheduler,
        "options": {
            "host": "127.0.0.1",
            "port": 0,
            "dashboard": True,
            "dashboard_address": "127.0.0.1:0",
        },
    }
    return SpecCluster(
        workers=dict.fromkeys(range(workers), worker),
        scheduler=scheduler,
        worker=worker,
        silence_logs=logging.CRITICAL,  # type: ignore[arg-type]
        name="plena",
    )


def _await_workers(client: Client, where: str) -> None:
    try:
        client.wait_for_workers(1, timeout=START_SECONDS)
    except TimeoutError:
        raise PlenaError("there is no worker", where, "Start one with `dask worker ADDRESS`.") from None


@contextmanager
def _silent_logs() -> Generator[None]:
    """What a search says about its points is in its table; Dask would print a traceback for each."""
    loggers = [
        logging.getLogger(name) for name in ("distributed", "distributed.scheduler", "distributed.core")
    ]
    before = [logger.level for logger in loggers]
    environment = os.environ.get(LOG_VARIABLE)
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    os.environ[LOG_VARIABLE] = "critical"
    try:
        yield
    finally:
        os.environ.pop(LOG_VARIABLE)
        if environment is not None:
            os.environ[LOG_VARIABLE] = environment
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
