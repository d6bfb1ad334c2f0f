from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from threadpoolctl import threadpool_info

from spacetime_tps.parallel import WorkerPool, available_cores

# --- tasks: module-level, so that spawned workers can import them ---------------------------------------------------


def square_after(delay: float, x: int) -> tuple[int, int]:
    time.sleep(delay)
    return x * x, os.getpid()


def blas_threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def fail(x: int) -> None:
    raise ZeroDivisionError(f"task {x} is broken")


def fail_or_sleep(x: int, folder: Path) -> None:
    """Task 0 fails as soon as another one sleeps."""
    (folder / f"{x}.pid").write_text(f"{os.getpid()}.")
    if x == 0:
        wait_until(lambda: len(pids_in(folder)) == 2, 60)
        fail(x)
    time.sleep(60)


def pids_in(folder: Path) -> list[int]:
    """Of the tasks that have begun."""
    texts = [path.read_text() for path in folder.glob("*.pid")]
    return [int(text[:-1]) for text in texts if text.endswith(".")]


class Bar:
    def __init__(self) -> None:
        self.steps: list[float] = []

    def update(self, weight: float) -> None:
        self.steps.append(weight)


# --- tests -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_order_is_kept(workers: int) -> None:
    """The first task takes longest, so with two workers it ends after others."""
    bar = Bar()
    tasks = [(0.3 if x == 0 else 0.0, x) for x in range(8)]
    with WorkerPool(workers) as pool:
        results = pool.map(square_after, tasks, bar, 2.5)
        again = pool.map(square_after, [(0.0, 9)])
    assert [value for value, _ in results] == [0, 1, 4, 9, 16, 25, 36, 49]
    assert again[0][0] == 81
    assert bar.steps == [2.5] * 8
    pids = {pid for _, pid in results}
    assert (pids == {os.getpid()}) if workers == 1 else (os.getpid() not in pids and len(pids) <= 2)


def test_no_tasks() -> None:
    with WorkerPool(2) as pool:
        assert pool.map(square_after, []) == []


def test_exception_in_this_process() -> None:
    with WorkerPool(1) as pool, pytest.raises(ZeroDivisionError, match="task 0 is broken"):
        pool.map(fail, [(0,), (1,)])


def test_exception_in_a_worker_ends_the_others(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError, match="task 0 is broken"), WorkerPool(2) as pool:
        pool.map(fail_or_sleep, [(1, tmp_path), (0, tmp_path), (2, tmp_path)])
    pids = pids_in(tmp_path)
    assert len(set(pids)) == 2
    assert wait_until(lambda: not any(is_running(pid) for pid in pids), 10)  # the sleeper would go on for a minute


def test_workers_have_the_environment_of_now_and_one_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of BLAS: eight workers on eight cores would have 64. The server that they are forked from began earlier."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "7")
    monkeypatch.setenv("SET_JUST_NOW", "yes")
    with WorkerPool(2) as pool:
        assert pool.map(blas_threads, [()]) == [{1}]
        assert pool.map(os.getenv, [("SET_JUST_NOW",)]) == ["yes"]


def test_available_cores() -> None:
    assert 1 <= available_cores() <= (os.cpu_count() or 1)


ORPHANS = """
import os, sys, time
from pathlib import Path
from spacetime_tps.parallel import WorkerPool

def sleep(folder, k):
    (Path(folder) / f"{k}.pid").write_text(f"{os.getpid()}.")
    time.sleep(120)

if __name__ == "__main__":
    with WorkerPool(2) as pool:
        pool.map(sleep, [(sys.argv[1], k) for k in range(2)])
"""


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie (an orphan's remains wait for init, which a container may lack)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return not Path("/proc/self").exists()


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "orphans.py"
    script.write_text(ORPHANS)
    package = Path(sys.modules["spacetime_tps"].__file__ or "").parent.parent
    environment = os.environ | {"PYTHONPATH": str(package)}
    parent = subprocess.Popen([sys.executable, str(script), str(tmp_path)], env=environment)
    pids: list[int] = []

    def both_started() -> bool:
        pids[:] = pids_in(tmp_path)
        return len(pids) == 2

    try:
        assert wait_until(both_started, 60)
        assert len(set(pids)) == 2
        assert parent.pid not in pids
        time.sleep(0.3)
        assert all(is_running(pid) for pid in pids)
        parent.send_signal(signal.SIGKILL)
        parent.wait(10)
        assert wait_until(lambda: not any(is_running(pid) for pid in pids), 10)
    finally:
        parent.kill()
        parent.wait()
        for pid in pids:
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)


INTERRUPTED = """
import multiprocessing.popen_forkserver as popen, os, signal, sys
from spacetime_tps.interruption import watch
from spacetime_tps.parallel import WorkerPool, leave_at_once

launch = popen.Popen._launch

def launch_and_interrupt(self, process):
    launch(self, process)
    os.kill(os.getpid(), signal.SIGINT)

popen.Popen._launch = launch_and_interrupt
watch()
try:
    with WorkerPool(2) as pool:
        pool.map(abs, [(1,), (2,)])
except KeyboardInterrupt:
    leave_at_once(7)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="workers are spawned there")
def test_no_worker_is_left_half_begun(tmp_path: Path) -> None:
    """It would be nobody's, and complain that the semaphores of its pool are gone."""
    script = tmp_path / "script.py"
    script.write_text(INTERRUPTED)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (7, "")


def test_a_script_without_a_main_guard_may_use_workers(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import math\n"
        "from spacetime_tps.parallel import WorkerPool\n"
        "with WorkerPool(2) as pool:\n"
        "    print(pool.map(math.sqrt, [(1.0,), (4.0,), (9.0,)]))\n"
        f"print(__file__ == {str(script)!r})\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[1.0, 2.0, 3.0]", "True"]
