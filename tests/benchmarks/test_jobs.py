"""The same jobs in this process, in several, and on a (fake) Ray cluster."""

import os
import sys
from dataclasses import dataclass

import pytest

from benchmarks.jobs import run_jobs
from runtime.errors import ReidEdgeError
from tests.benchmarks.fake_ray import FakeRay


@dataclass(frozen=True)
class Square:
    """A job; negative numbers are a user's mistake, 99 kills its process."""

    number: int

    def run(self, progress=False):
        if self.number == 99:
            os._exit(1)
        if self.number < 0:
            raise ReidEdgeError("%d is negative" % self.number)
        return {"square": self.number**2, "progress": progress, "process": os.getpid()}


@pytest.fixture
def ray(monkeypatch):
    made = []

    def install(**options):
        made.append(FakeRay(**options))
        monkeypatch.setitem(sys.modules, "ray", made[-1])
        return made[-1]

    yield install
    for fake in made:
        fake.close()


def run(numbers, **options):
    results = {}
    run_jobs([Square(n) for n in numbers], results.__setitem__, **options)
    return results


def test_here_one_after_the_other():
    found = run([2, -1, 3])
    assert list(found) == [0, 1, 2]
    assert found[0]["square"] == 4 and found[2]["square"] == 9
    assert str(found[1]) == "-1 is negative", "the others went on"
    assert {found[i]["process"] for i in (0, 2)} == {os.getpid()}
    assert found[0]["progress"] is True and run([1], progress=False)[0]["progress"] is False


def test_in_processes():
    found = run([2, -1, 3], processes=2)
    assert found[0]["square"] == 4 and found[2]["square"] == 9
    assert isinstance(found[1], ReidEdgeError) and str(found[1]) == "-1 is negative"
    assert os.getpid() not in {found[i]["process"] for i in (0, 2)}
    assert found[0]["progress"] is False, "bars of several processes would mix"


def test_one_job_needs_no_process():
    assert run([2], processes=4)[0]["process"] == os.getpid()


def test_a_process_that_dies_is_one_sentence():
    with pytest.raises(ReidEdgeError, match=r"A process ended .* use fewer --jobs"):
        run([2, 99, 3], processes=2)


def test_no_jobs():
    assert run([], processes=2) == {} and run([], ray_address="auto") == {}


def test_on_a_ray_cluster(ray):
    fake = ray()
    found = run([2, -1, 3], ray_address="ray://head:10001", cpus=3)
    assert {n: r["square"] for n, r in found.items() if n != 1} == {0: 4, 2: 9}
    assert str(found[1]) == "-1 is negative"
    assert os.getpid() not in {found[i]["process"] for i in (0, 2)}
    assert list(found) != [0, 1, 2], "in the order in which jobs end"
    assert fake.calls == [("init", "ray://head:10001"), ("options", 3), ("shutdown",)]


def test_a_node_that_is_lost_costs_its_job(ray):
    fake = ray(lose=[2])
    found = run([1, 2, 3], ray_address="auto")
    assert [isinstance(found[i], ReidEdgeError) for i in range(3)] == [False, True, False]
    assert str(found[1]) == "A job failed on the Ray cluster: The node died"
    assert fake.calls[-1] == ("shutdown",)


def test_an_interrupt_cancels_what_is_left(ray):
    fake = ray()

    def stop(number, result):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs([Square(n) for n in range(3)], stop, ray_address="auto")
    assert fake.calls[-3:] == [("cancel",), ("cancel",), ("shutdown",)] and not fake.connected


def test_no_ray(monkeypatch, ray):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ReidEdgeError, match="--ray needs the package ray"):
        run([1], ray_address="auto")
    ray(reachable=False)
    with pytest.raises(ReidEdgeError, match=r"cluster auto \(Could not find any running Ray inst"):
        run([1], ray_address="auto")


def test_the_fake_refuses_what_ray_does_not_have(ray):
    fake = ray()
    with pytest.raises(AttributeError, match="has no 'put'"):
        fake.put(1)
    with pytest.raises(TypeError):
        fake.init("auto")
    with pytest.raises(RuntimeError, match="has not been called"):
        fake.wait([], num_returns=1)
