"""A CUDA device in host memory that punishes what a real one punishes, often silently.

FakeDevice keeps the blocks; fake_cuda_python() and fake_pycuda() are modules over it with the calls
runtime/cuda_memory.py uses. Errors a real device would answer with corrupted memory or a crash
(use after free, a copy past the end) are raised as DeviceFault.
"""

import ctypes
import sys
import threading
from types import ModuleType, SimpleNamespace

import numpy as np


class DeviceFault(AssertionError):
    """The program did what corrupts memory or kills the process on a real device."""


class FakeDevice:
    """Device memory, one work queue per stream, and per-thread contexts.

    Attributes:
        blocks: address -> bytearray, of what is allocated now.
        needs_context: Whether calls need a context pushed in the calling thread (driver API).
        fail_allocation: Make the next allocation fail for lack of memory.
        streams: Open streams.
    """

    def __init__(self, name="Xavier", sm=(7, 2)):
        self.name, self.sm = name, sm
        self.blocks = {}
        self.streams = {}
        self.needs_context = False
        self.fail_allocation = False
        self._next_address = 0x10000
        self._next_stream = 0x77
        self._threads = threading.local()

    # -- contexts
    @property
    def pushed(self):
        if not hasattr(self._threads, "pushed"):
            self._threads.pushed = 0
        return self._threads.pushed

    def push(self):
        self._threads.pushed = self.pushed + 1

    def pop(self):
        if not self.pushed:
            raise DeviceFault("popped a context that was not pushed")
        self._threads.pushed -= 1

    def check_context(self):
        if self.needs_context and not self.pushed:
            raise DeviceFault("invalid device context in thread %s" % threading.current_thread())

    # -- memory
    def allocate(self, size_bytes):
        self.check_context()
        address, self._next_address = self._next_address, self._next_address + size_bytes + 256
        self.blocks[address] = bytearray(b"\xff" * size_bytes)  # all-ones is NaN: unwritten shows
        return address

    def free(self, address):
        self.check_context()
        if self.blocks.pop(address, None) is None:
            raise DeviceFault("freed address %#x, which is not allocated" % address)

    def _block(self, address, size_bytes):
        self.check_context()
        if address not in self.blocks:
            raise DeviceFault("used address %#x, which is not allocated" % address)
        if size_bytes > len(self.blocks[address]):
            raise DeviceFault("%d bytes in a block of %d" % (size_bytes, len(self.blocks[address])))
        return self.blocks[address]

    def write(self, address, data):
        self._block(address, len(data))[: len(data)] = data

    def read(self, address, size_bytes):
        return bytes(self._block(address, size_bytes)[:size_bytes])

    # -- streams: queued work happens when somebody waits for it
    def open_stream(self):
        self.check_context()
        self._next_stream += 1
        self.streams[self._next_stream] = []
        return self._next_stream

    def enqueue(self, stream, work):
        self.check_context()
        if stream not in self.streams:
            raise DeviceFault("enqueued on stream %#x, which is not open" % stream)
        self.streams[stream].append(work)

    def synchronize(self, stream):
        self.check_context()
        while self.streams[stream]:
            self.streams[stream].pop(0)()

    def close_stream(self, stream):
        self.check_context()
        if self.streams.pop(stream, None) is None:
            raise DeviceFault("closed stream %#x twice" % stream)


class _Code(int):
    """An error code as cuda-python returns it."""


def fake_cuda_python(device, driver_missing=False):
    """The module ``cuda.cudart`` (or ``cuda.bindings.runtime``) over a device."""
    module = ModuleType("fake_cudart")
    ok, out_of_memory = _Code(0), _Code(2)
    module.cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    module.cudaDeviceAttr = SimpleNamespace(
        cudaDevAttrComputeCapabilityMajor=75, cudaDevAttrComputeCapabilityMinor=76
    )

    def malloc(size):
        if driver_missing:
            raise RuntimeError("Failed to dlopen libcuda.so.1")
        if device.fail_allocation:
            return out_of_memory, 0
        return ok, device.allocate(size)

    def free(address):
        device.free(address)
        return (ok,)

    def memcpy(target, source, count, kind):
        if kind == 1:
            device.write(target, ctypes.string_at(source, count))
        else:
            ctypes.memmove(target, device.read(source, count), count)
        return (ok,)

    def attribute(which, number):
        if driver_missing:
            raise RuntimeError("Failed to dlopen libcuda.so.1")
        return ok, device.sm[which - 75]

    def closing(stream):
        device.close_stream(stream)
        return (ok,)

    def synchronize(stream):
        device.synchronize(stream)
        return (ok,)

    module.cudaMalloc, module.cudaFree, module.cudaMemcpy = malloc, free, memcpy
    module.cudaDeviceGetAttribute = attribute
    module.cudaGetDeviceProperties = lambda number: (
        ok,
        SimpleNamespace(name=device.name.encode() + b"\0\0\0"),
    )
    module.cudaStreamCreate = lambda: (ok, device.open_stream())
    module.cudaStreamDestroy, module.cudaStreamSynchronize = closing, synchronize
    module.cudaGetErrorName = lambda code: (ok, b"cudaErrorMemoryAllocation")
    return module


def fake_pycuda(device):
    """The module ``pycuda.driver`` over a device; makes the device insist on contexts."""
    device.needs_context = True
    module = ModuleType("fake_pycuda_driver")

    class Error(Exception):
        pass

    class Context:
        push, pop = staticmethod(device.push), staticmethod(device.pop)

    class Device:
        def __init__(self, number):
            assert number == 0 and module.initialised, "pycuda needs init() first"

        name = staticmethod(lambda: device.name)
        compute_capability = staticmethod(lambda: device.sm)
        retain_primary_context = staticmethod(Context)

    class Stream:
        def __init__(self):
            self.handle = device.open_stream()

        def synchronize(self):
            device.synchronize(self.handle)

        def __del__(self):
            device.close_stream(self.handle)

    class DeviceAllocation:
        def __init__(self, address):
            self.address = address

        def __int__(self):
            return self.address

        def free(self):
            device.free(self.address)

    def mem_alloc(size):
        if device.fail_allocation:
            raise Error("cuMemAlloc failed: out of memory")
        return DeviceAllocation(device.allocate(size))

    def htod(allocation, array):
        device.write(int(allocation), np.ascontiguousarray(array).tobytes())

    def dtoh(array, allocation):
        array[...] = np.frombuffer(device.read(int(allocation), array.nbytes), array.dtype).reshape(
            array.shape
        )

    module.initialised = False
    module.init = lambda: setattr(module, "initialised", True)
    module.Error, module.Device, module.Stream = Error, Device, Stream
    module.mem_alloc, module.memcpy_htod, module.memcpy_dtoh = mem_alloc, htod, dtoh
    return module


def install_cuda(monkeypatch, package, device):
    """Make exactly one CUDA package importable: "cuda.bindings.runtime", "cuda.cudart", "pycuda.driver".

    ``None`` installs none.
    """
    for name in ("cuda.bindings.runtime", "cuda.cudart", "pycuda.driver"):
        monkeypatch.setitem(sys.modules, name, None)
    if package is None:
        return
    fake = fake_pycuda(device) if package == "pycuda.driver" else fake_cuda_python(device)
    parts = package.split(".")
    for count in range(1, len(parts)):
        monkeypatch.setitem(sys.modules, ".".join(parts[:count]), ModuleType(parts[count - 1]))
    monkeypatch.setitem(sys.modules, package, fake)
