"""Device memory for TensorRT through cuda-python or pycuda, whichever is installed.

Both packages are used through the same few calls: allocate, copy in, copy out, free, wait.

The trap of threads: a CUDA context is current per *thread*. The runtime API (cuda-python) makes the
device's primary context current in any thread that calls it, but the driver API (pycuda) does not: a
buffer made in the main thread is an "invalid device context" error in a worker thread. Hence every
call into CUDA or TensorRT belongs inside ``with cuda.active():``, which pushes the context on the
calling thread and pops it again. The *primary* context is used because TensorRT itself runs on the
runtime API; a private one (pycuda.autoinit) would not share memory with it.
"""

import importlib
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import Iterator

import numpy as np

from runtime.errors import ReidEdgeError


class DeviceBuffer:
    """A block of device memory.

    Attributes:
        address: Device address, for TensorRT.
        size_bytes: Size of the block.
    """

    def __init__(self, cuda: "Cuda", size_bytes: int):
        self._cuda = cuda
        self.size_bytes = size_bytes
        self._allocation = cuda._allocate(size_bytes)
        self.address = int(self._allocation)

    def upload(self, array: np.ndarray) -> None:
        """Copy a C-contiguous host array to the start of the block."""
        self._check(array)
        self._cuda._copy_to_device(self._allocation, array)

    def download(self, array: np.ndarray) -> None:
        """Fill a C-contiguous host array from the start of the block."""
        self._check(array)
        self._cuda._copy_to_host(array, self._allocation)

    def free(self) -> None:
        """Give the block back; a second call does nothing."""
        allocation, self._allocation = self._allocation, None
        if allocation is not None:
            self._cuda._free(allocation)

    def _check(self, array):
        if self._allocation is None:
            raise ValueError("This device buffer was freed.")
        if not array.flags.c_contiguous or array.nbytes > self.size_bytes:
            raise ValueError(
                "Expected a C-contiguous array of at most %d bytes, got %d bytes%s."
                % (self.size_bytes, array.nbytes, "" if array.flags.c_contiguous else ", strided")
            )


class Cuda(ABC):
    """One CUDA device (number 0) and one stream.

    Attributes:
        name: The Python package in use.
        device_name: Name of the GPU as CUDA reports it.
        sm: Compute capability, such as ``"7.2"``.
        stream: Handle of the stream, for TensorRT.
    """

    name: str
    device_name: str
    sm: str
    stream: int

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make the device's context current in this thread for the duration of the block."""
        yield

    def allocate(self, size_bytes: int) -> DeviceBuffer:
        """Allocate device memory.

        Raises:
            ReidEdgeError: The device has too little free memory.
        """
        return DeviceBuffer(self, size_bytes)

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until the stream's work is done."""

    @abstractmethod
    def close(self) -> None:
        """Release the stream and the context; buffers must have been freed before."""

    @abstractmethod
    def _allocate(self, size_bytes): ...

    @abstractmethod
    def _free(self, allocation): ...

    @abstractmethod
    def _copy_to_device(self, allocation, array): ...

    @abstractmethod
    def _copy_to_host(self, array, allocation): ...


class _CudaPython(Cuda):
    """The runtime API as cuda-python wraps it: every call returns (error, results...)."""

    name = "cuda-python"

    def __init__(self, cudart):
        self._cudart = cudart
        attribute = cudart.cudaDeviceAttr
        major, minor = (
            self._call("cudaDeviceGetAttribute", which, 0)
            for which in (
                attribute.cudaDevAttrComputeCapabilityMajor,
                attribute.cudaDevAttrComputeCapabilityMinor,
            )
        )
        self.sm = "%d.%d" % (major, minor)
        name = self._call("cudaGetDeviceProperties", 0).name
        self.device_name = name.split(b"\0")[0].decode("utf-8", "replace").strip()
        self._stream = self._call("cudaStreamCreate")
        self.stream = int(self._stream)

    def _call(self, function, *arguments):
        try:
            error, *results = getattr(self._cudart, function)(*arguments)
        except RuntimeError as failure:  # the package is installed but libcuda is not
            raise ReidEdgeError(
                "cuda-python cannot use the CUDA driver (%s); run this on the board." % failure
            ) from None
        if int(error) != 0:
            name = self._cudart.cudaGetErrorName(error)[1].decode("ascii", "replace")
            raise ReidEdgeError("CUDA call %s failed with %s%s" % (function, name, _hint(name)))
        return results[0] if results else None

    def synchronize(self) -> None:
        self._call("cudaStreamSynchronize", self._stream)

    def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            self._call("cudaStreamDestroy", stream)

    def _allocate(self, size_bytes):
        return self._call("cudaMalloc", size_bytes)

    def _free(self, allocation):
        self._call("cudaFree", allocation)

    def _copy_to_device(self, allocation, array):
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpy", allocation, array.ctypes.data, array.nbytes, kind)

    def _copy_to_host(self, array, allocation):
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpy", array.ctypes.data, allocation, array.nbytes, kind)


class _PyCuda(Cuda):
    """The driver API as pycuda wraps it: failures are exceptions, contexts are pushed by hand."""

    name = "pycuda"

    def __init__(self, driver):
        self._driver = driver
        with self._errors():
            driver.init()
            device = driver.Device(0)
            self.device_name = device.name()
            self.sm = "%d.%d" % tuple(device.compute_capability())
            self._context = device.retain_primary_context()
        with self.active(), self._errors():
            self._stream = driver.Stream()
            self.stream = int(self._stream.handle)

    @contextmanager
    def active(self) -> Iterator[None]:
        self._context.push()
        try:
            yield
        finally:
            self._context.pop()

    @contextmanager
    def _errors(self):
        try:
            yield
        except self._driver.Error as failure:
            raise ReidEdgeError("CUDA call failed: %s%s" % (failure, _hint(str(failure)))) from None

    def synchronize(self) -> None:
        with self._errors():
            self._stream.synchronize()

    def close(self) -> None:
        with self.active():
            self._stream = None  # pycuda releases streams and contexts with their last reference
        self._context = None

    def _allocate(self, size_bytes):
        with self._errors():
            return self._driver.mem_alloc(size_bytes)

    def _free(self, allocation):
        with self._errors():
            allocation.free()

    def _copy_to_device(self, allocation, array):
        with self._errors():
            self._driver.memcpy_htod(allocation, array)

    def _copy_to_host(self, array, allocation):
        with self._errors():
            self._driver.memcpy_dtoh(array, allocation)


def _hint(failure):
    if "memory" in failure.lower():
        return ": too little free device memory; close other programs or build a smaller batch."
    return "."


# cuda-python moved its runtime bindings in 12.6.1; the old place is all that Python 3.8 has.
_PACKAGES = (
    ("cuda.bindings.runtime", _CudaPython),
    ("cuda.cudart", _CudaPython),
    ("pycuda.driver", _PyCuda),
)


def open_cuda() -> Cuda:
    """The CUDA device through the first importable package: cuda-python, then pycuda.

    Raises:
        ReidEdgeError: Neither is installed, or CUDA itself does not work here.
    """
    reasons = []
    for module_name, wrapper in _PACKAGES:
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            reasons.append("%s: %s" % (module_name, error))
        else:
            return wrapper(module)
    raise ReidEdgeError(
        "TensorRT needs cuda-python or pycuda for device memory and neither is importable (%s); "
        "run pip install cuda-python==11.8.2 on JetPack 5 (the last for CUDA 11 with Python 3.8), or "
        "pip install cuda-python for a newer CUDA." % "; ".join(reasons)
    )
