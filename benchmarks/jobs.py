"""Jobs that only compute: one after the other here, in several processes, or on a Ray cluster.

A job is plain data with a method ``run``, so the same one runs in any of these. Latency is no such
job: it is measured on a named host that does nothing else.

On a cluster, reid-edge of the same version must be installed on every node, and bundles, data and
cache must lie in folders that all nodes see under the same paths. Used of Ray (>= 2): ``init``,
``remote`` with ``options(num_cpus=...)``, ``wait``, ``get``, ``cancel``, ``shutdown``.
"""

from __future__ import annotations

import importlib
import multiprocessing
import signal
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Callable, Dict, List, Optional, Protocol, Sequence

from runtime.errors import ReidEdgeError

Done = Callable[[int, Any], None]
"""Called as each job ends with its number and its result, or the ReidEdgeError it ended with."""


class Job(Protocol):
    """Something to compute; must be picklable, and so must what it returns."""

    def run(self, progress: bool = False) -> Any:
        """Compute; raise ReidEdgeError for a mistake of the user."""


def run_jobs(
    jobs: Sequence[Job],
    done: Done,
    *,
    processes: int = 1,
    ray_address: Optional[str] = None,
    cpus: int = 1,
    progress: bool = True,
) -> None:
    """Run jobs; a job that fails does not stop the others.

    Args:
        jobs: What to run.
        done: Called in this process, in the order in which jobs end.
        processes: Processes on this machine; 1 runs everything in this one.
        ray_address: Address of a Ray cluster ("auto", "ray://host:10001"), instead of processes.
        cpus: Cores that Ray keeps for a job.
        progress: Show each job's own bar; only where they run in this process.

    Raises:
        ReidEdgeError: Ray is not installed or its cluster cannot be reached, or a process died.
    """
    if not jobs:
        return
    if ray_address is not None:
        _on_ray(jobs, done, ray_address, cpus)
    elif processes > 1 and len(jobs) > 1:
        _in_processes(jobs, done, min(processes, len(jobs)))
    else:
        for number, job in enumerate(jobs):
            done(number, _result(job, progress))


def _result(job: Job, progress: bool = False) -> Any:
    try:
        return job.run(progress)
    except ReidEdgeError as error:
        return error


def _end_on_interrupt() -> None:
    # Ctrl-C reaches every process; the parent says it, and a traceback from each says nothing more.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _in_processes(jobs: Sequence[Job], done: Done, processes: int) -> None:
    # Not fork: the networks' worker threads would not survive it.
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=spawn, initializer=_end_on_interrupt)
    numbers: Dict[Future, int] = {}
    try:
        for number, job in enumerate(jobs):
            numbers[pool.submit(_result, job)] = number
        left = set(numbers)
        while left:
            ready, left = wait(left, return_when=FIRST_COMPLETED)
            for future in ready:
                done(numbers[future], future.result())
    except BrokenProcessPool:
        raise ReidEdgeError(
            "A process ended before its job was done, perhaps for lack of memory; use fewer --jobs. "
            "What is done is kept."
        ) from None
    finally:
        for future in numbers:
            future.cancel()
        pool.shutdown(wait=True)


def _on_ray(jobs: Sequence[Job], done: Done, address: str, cpus: int) -> None:
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError:
        raise ReidEdgeError(
            "--ray needs the package ray, which is not installed; install it with `pip install ray`, "
            "or use --jobs on this machine."
        ) from None
    try:
        ray.init(address=address)
    except Exception as error:  # Ray raises a different class for every way not to be there
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ReidEdgeError(
            "Cannot reach the Ray cluster %s (%s); start one with `ray start --head`, or use --jobs."
            % (address, reason)
        ) from None
    left: List[Any] = []
    try:
        task = ray.remote(_result).options(num_cpus=cpus)
        numbers = {task.remote(job): number for number, job in enumerate(jobs)}
        left = list(numbers)
        while left:
            ready, left = ray.wait(left, num_returns=1)
            for reference in ready:
                try:
                    result = ray.get(reference)
                except Exception as error:  # a node that died, or a version that differs
                    reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
                    result = ReidEdgeError("A job failed on the Ray cluster: %s" % reason)
                done(numbers[reference], result)
    except BaseException:
        for reference in left:
            ray.cancel(reference)
        raise
    finally:
        ray.shutdown()
