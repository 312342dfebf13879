"""A stand-in for the package ray, which is not installed where these tests run.

It has exactly the names benchmarks.jobs uses, with the signatures of Ray 2 (docs.ray.io, Ray Core API);
any other name, argument or order of calls is refused. Tasks run in a process of their own, so that what
they need must be picklable, as on a cluster.
"""

import multiprocessing
import pickle
from types import ModuleType


def _call(payload):
    function, arguments = pickle.loads(payload)
    return pickle.dumps(function(*arguments))


class ObjectRef:
    """A task's result to come."""

    def __init__(self, payload):
        self.payload = payload
        self.cancelled = False


class RayTaskError(Exception):
    """What a task ended with."""


class _Remote:
    def __init__(self, ray, function, options=None):
        self._ray, self._function, self._options = ray, function, options

    def options(self, *, num_cpus):
        if not isinstance(num_cpus, int) or num_cpus < 1:
            raise ValueError("num_cpus must be a whole number, got %r" % (num_cpus,))
        self._ray.calls.append(("options", num_cpus))
        return _Remote(self._ray, self._function, num_cpus)

    def remote(self, *arguments):
        self._ray.require_connected()
        return ObjectRef(pickle.dumps((self._function, arguments)))

    def __call__(self, *arguments):
        raise TypeError("Remote functions cannot be called directly")


class FakeRay(ModuleType):
    """The module; ``calls`` lists what was asked of it."""

    def __init__(self, reachable=True, lose=()):
        super().__init__("ray")
        self.calls = []
        self.connected = False
        self._reachable, self._lose, self._got = reachable, set(lose), 0
        self._pool = multiprocessing.get_context("spawn").Pool(1)

    def require_connected(self):
        if not self.connected:
            raise RuntimeError("ray.init has not been called")

    def init(self, *, address):
        self.calls.append(("init", address))
        if not self._reachable:
            raise ConnectionError("Could not find any running Ray instance.\nMore advice.")
        if self.connected:
            raise RuntimeError("ray.init was called twice")
        self.connected = True

    def remote(self, function):
        return _Remote(self, function)

    def wait(self, refs, *, num_returns):
        self.require_connected()
        if not isinstance(refs, list) or not 0 < num_returns <= len(refs):
            raise ValueError("wait takes a list of ObjectRefs and at most that many returns")
        # The last to be sent is the first to be ready: order must not matter.
        return refs[len(refs) - num_returns :], refs[: len(refs) - num_returns]

    def get(self, ref):
        self.require_connected()
        self._got += 1
        if self._got in self._lose:
            raise RayTaskError("a long traceback\nThe node died")
        return pickle.loads(self._pool.apply(_call, (ref.payload,)))

    def cancel(self, ref):
        self.require_connected()
        ref.cancelled = True
        self.calls.append(("cancel",))

    def shutdown(self):
        self.calls.append(("shutdown",))
        self.connected = False

    def close(self):
        self._pool.terminate()
        self._pool.join()

    def __getattr__(self, name):
        raise AttributeError("the fake of ray has no %r; benchmarks.jobs must not use it" % name)
