"""Independent tasks in worker processes.

A task is a module-level function of picklable arguments that carries its own seed, so results never depend on the
number of workers. Processes end with their parent. They are not forked from it (torch and OpenMM hold threads): on
Linux they are forked from a server that has imported libraries and done nothing else, which is there in a quarter of
the time; elsewhere they are spawned.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.util
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing import connection
from typing import Any, NoReturn, TypeVar

from threadpoolctl import threadpool_limits
from tqdm import tqdm

from spacetime_tps.interruption import held_back, raise_if_interrupted

Result = TypeVar("Result")
_SAFE_PATH = "PYTHONSAFEPATH"
_START_METHOD = "forkserver" if sys.platform == "linux" else "spawn"
_IMPORTED_ONCE = [
    "torch", "scipy.cluster.hierarchy", "scipy.integrate", "scipy.interpolate", "scipy.ndimage", "scipy.optimize",
    "matplotlib.figure", "matplotlib.backends.backend_agg", "mdtraj", "spacetime_tps.config",
    "spacetime_tps.potentials",
]  # fmt: skip
"""By the server. OpenMM must not be there: its CUDA plugin could open the device, which no fork survives."""


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def leave_at_once(code: int) -> NoReturn:
    """End this process without joining the threads of an abandoned worker pool, which could wait for ever.

    Semaphores are given back first, as at an ordinary exit, or Python's resource tracker would complain of them.
    """
    multiprocessing.util._run_finalizers(0)  # type: ignore[attr-defined]
    os._exit(code)


@contextmanager
def importing_nothing_from_here() -> Iterator[None]:
    """Processes that Python starts in this block do not import from the working folder, as ``python -c`` would.

    A stranger's folder could hold a ``multiprocessing.py``, which they would take for Python's own.
    """
    before = os.environ.get(_SAFE_PATH)
    os.environ[_SAFE_PATH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SAFE_PATH]
        else:
            os.environ[_SAFE_PATH] = before


@contextmanager
def _script_stays_out(task: Callable[..., Any]) -> Iterator[None]:
    """Worker processes import the module of their task, not the script that started them: it may lack a main guard."""
    main = sys.modules["__main__"]
    hidden = {name: getattr(main, name) for name in ("__file__", "__spec__") if hasattr(main, name)}
    if task.__module__ == "__main__":
        hidden = {}
    try:
        for name in hidden:
            setattr(main, name, None)
        yield
    finally:
        for name, value in hidden.items():
            setattr(main, name, value)


class WorkerPool:
    """Runs tasks in ``workers`` processes, or in this one if ``workers`` is 1."""

    def __init__(self, workers: int):
        self.workers = workers
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> WorkerPool:
        return self

    @contextmanager
    def _starting(self, task: Callable[..., Any]) -> Iterator[ProcessPoolExecutor]:
        """The processes, which start when they are first needed, within this block.

        A signal waits until its end: a process that it left half begun would be nobody's, and complain when the
        semaphores of its pool are gone.
        """
        with importing_nothing_from_here(), _script_stays_out(task), held_back():
            if self._executor is None:
                context = multiprocessing.get_context(_START_METHOD)
                context.set_forkserver_preload(_IMPORTED_ONCE)
                self._executor = ProcessPoolExecutor(
                    self.workers, context, initializer=_start_worker, initargs=(context.Value("i", 0), dict(os.environ))
                )
            yield self._executor

    def __exit__(self, kind: Any, *_: Any) -> None:
        if self._executor is None:
            return
        if kind is not None:
            for process in list((self._executor._processes or {}).values()):
                process.kill()
        # After a failure nothing may be waited for: the executor's queue can be stuck with a task no worker reads.
        self._executor.shutdown(wait=kind is None, cancel_futures=True)
        self._executor = None

    def submit(self, task: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Begin a task; with one worker it is done when this returns."""
        if self.workers > 1:
            with self._starting(task) as executor:
                return executor.submit(task, *arguments)
        future: Future[Result] = Future()
        future.set_result(task(*arguments))
        return future

    def map(
        self,
        task: Callable[..., Result],
        arguments: Sequence[tuple[Any, ...]],
        bar: tqdm | None = None,
        weight: float = 1.0,
    ) -> list[Result]:
        """``[task(*args) for args in arguments]``, in order; ``bar`` advances by ``weight`` a task."""
        if self.workers == 1:
            results = []
            for args in arguments:
                raise_if_interrupted()
                results.append(task(*args))
                if bar is not None:
                    bar.update(weight)
            return results
        with self._starting(task) as executor:
            futures: list[Future[Result]] = [executor.submit(task, *args) for args in arguments]
        pending = set(futures)
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            raise_if_interrupted()
            for future in done:
                future.result()
                if bar is not None:
                    bar.update(weight)
        return [future.result() for future in futures]


_number = 0


def worker_number() -> int:
    """Of this process among the workers of its pool, from 0; 0 in a process that is none. It chooses devices only."""
    return _number


def _start_worker(counter: Any, environment: dict[str, str]) -> None:
    """Take a number and one core, leave Ctrl-C to the parent, and end when the parent ends, however it ends.

    The server has the environment of the time when it began, which may be another one by now.
    """
    global _number
    os.environ.clear()
    os.environ.update(environment)
    threadpool_limits(1, "blas")
    with counter.get_lock():
        _number, counter.value = counter.value, counter.value + 1
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_with, args=(parent.sentinel,), daemon=True).start()


def _exit_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
