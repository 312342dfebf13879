"""Device memory through cuda-python and pycuda, over a device that detects misuse."""

import sys
import threading

import numpy as np
import pytest

from runtime.cuda_memory import open_cuda
from runtime.errors import ReidEdgeError
from tests.runtime.fake_cuda import DeviceFault, FakeDevice, fake_cuda_python, install_cuda

PACKAGES = ["cuda.bindings.runtime", "cuda.cudart", "pycuda.driver"]


@pytest.fixture(params=PACKAGES)
def package(request):
    return request.param


@pytest.fixture
def device():
    return FakeDevice()


@pytest.fixture
def cuda(monkeypatch, package, device):
    install_cuda(monkeypatch, package, device)
    opened = open_cuda()
    yield opened
    opened.close()


def test_reports_the_device(cuda, package):
    assert (cuda.device_name, cuda.sm) == ("Xavier", "7.2")
    assert cuda.name == ("pycuda" if package == "pycuda.driver" else "cuda-python")


def test_upload_then_download_returns_the_same_values(cuda):
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    with cuda.active():
        buffer = cuda.allocate(values.nbytes)
        buffer.upload(values)
        back = np.empty_like(values)
        buffer.download(back)
        buffer.free()
    np.testing.assert_array_equal(back, values)


def test_a_smaller_array_uses_the_start_of_the_block(cuda):
    with cuda.active():
        buffer = cuda.allocate(64)
        buffer.upload(np.arange(16, dtype=np.float32))
        buffer.upload(np.full(2, 9, np.float32))
        back = np.empty(4, np.float32)
        buffer.download(back)
        buffer.free()
    assert back.tolist() == [9, 9, 2, 3]


@pytest.mark.parametrize("direction", ["upload", "download"])
def test_refuses_arrays_that_do_not_fit(cuda, direction):
    with cuda.active():
        buffer = cuda.allocate(16)
        with pytest.raises(ValueError, match="at most 16 bytes, got 20"):
            getattr(buffer, direction)(np.zeros(5, np.float32))
        with pytest.raises(ValueError, match="strided"):
            getattr(buffer, direction)(np.zeros((2, 4), np.float32)[:, :1])
        buffer.free()


@pytest.mark.parametrize("direction", ["upload", "download"])
def test_refuses_use_after_free_and_frees_once(cuda, device, direction):
    with cuda.active():
        buffer = cuda.allocate(16)
        buffer.free()
        buffer.free()
        assert not device.blocks
        with pytest.raises(ValueError, match="freed"):
            getattr(buffer, direction)(np.zeros(1, np.float32))


def test_out_of_memory_is_one_sentence(cuda, device):
    device.fail_allocation = True
    with cuda.active(), pytest.raises(ReidEdgeError, match="too little free device memory"):
        cuda.allocate(1 << 40)


def test_close_releases_the_stream(monkeypatch, package, device):
    install_cuda(monkeypatch, package, device)
    cuda = open_cuda()
    assert cuda.stream in device.streams
    cuda.close()
    assert not device.streams


def test_synchronize_runs_queued_work(cuda, device):
    done = []
    with cuda.active():
        device.enqueue(cuda.stream, lambda: done.append(True))
        assert not done
        cuda.synchronize()
    assert done


def test_pycuda_works_in_another_thread_only_inside_active(monkeypatch, device):
    install_cuda(monkeypatch, "pycuda.driver", device)
    cuda = open_cuda()
    with cuda.active():
        buffer = cuda.allocate(4)
    outcomes = []

    def worker():
        try:
            buffer.upload(np.ones(1, np.float32))
        except DeviceFault:
            outcomes.append("refused outside")
        with cuda.active():
            buffer.upload(np.ones(1, np.float32))
            outcomes.append("done inside")

    thread = threading.Thread(target=worker)
    thread.start()
    thread.join()
    assert outcomes == ["refused outside", "done inside"]
    with cuda.active():
        buffer.free()
    cuda.close()


def test_pycuda_leaves_no_context_behind_even_on_errors(monkeypatch, device):
    install_cuda(monkeypatch, "pycuda.driver", device)
    cuda = open_cuda()
    with pytest.raises(KeyError), cuda.active():
        raise KeyError("anything")
    assert device.pushed == 0
    cuda.close()
    assert device.pushed == 0


def test_says_what_to_install_when_no_package_is_there(monkeypatch, device):
    install_cuda(monkeypatch, None, device)
    with pytest.raises(ReidEdgeError, match=r"pip install cuda-python==11\.8\.2"):
        open_cuda()


def test_says_so_when_the_driver_is_missing(monkeypatch, device):
    install_cuda(monkeypatch, "cuda.cudart", device)
    monkeypatch.setitem(sys.modules, "cuda.cudart", fake_cuda_python(device, driver_missing=True))
    with pytest.raises(ReidEdgeError, match=r"libcuda\.so\.1"):
        open_cuda()
