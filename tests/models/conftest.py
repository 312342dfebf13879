"""Golden vectors of the original codebases, as checkpoint files in each codebase's own layout."""

import fnmatch
import importlib.util
import json
import shutil

import numpy as np
import pytest
import torch

from runtime.preprocess import preprocess

torch.set_num_threads(1)  # several test processes may share few cores

# File layouts as each codebase's trainer writes them, junk included.
LAYOUTS = {
    "rga": lambda state: {
        "state_dict": state,
        "epoch": 400,
        "best_top1": np.float64(0.961),
        "optimizer": {"state": {}, "param_groups": [{"lr": 8e-4}]},
    },
    "bot": lambda state: state,
    "osnet": lambda state: {
        "state_dict": state,
        "epoch": 60,
        "rank1": np.float32(0.94),
        "optimizer": {"state": {}},
        "scheduler": {"last_epoch": 60},
    },
    "torchreid": lambda state: {"state_dict": state, "epoch": 60, "rank1": 0.9},
    "fastreid": lambda state: {
        "model": state,
        "optimizer": {"state": {}},
        "scheduler": {},
        "iteration": 20000,
    },
    "layumi": lambda state: state,
}


class Golden:
    """One npz of shared/golden and the checkpoint it describes."""

    def __init__(self, folder, fill, name):
        self.name, self._fill = name, fill
        self.npz = np.load(folder / f"{name}.npz")
        self.meta = json.loads(str(self.npz["meta"]))
        self.shapes = dict(zip(map(str, self.npz["keys"]), json.loads(str(self.npz["shapes"]))))
        self.hw = tuple(int(v) for v in self.npz["input_hw"])

    def state(self):
        return {
            key: torch.from_numpy(np.asarray(self._fill.fill(key, shape)))
            for key, shape in self.shapes.items()
        }

    def save(self, path, state=None, prefix=""):
        state = {prefix + key: value for key, value in (state or self.state()).items()}
        torch.save(LAYOUTS[self.name.split("_")[0]](state), path)
        return path

    def feature(self, kind="feature"):
        return self.npz[f"{kind}_f64"]

    def crops(self):
        """The two test images as BGR crops."""
        return list(self._fill.image(2, *self.hw)[..., ::-1])

    def dropped_as_documented(self, keys):
        """Whether ``keys`` are just the checkpoint keys that meta["not_needed"] names."""
        patterns = self.meta["not_needed"]
        return set(keys) == {k for k in self.shapes if any(fnmatch.fnmatch(k, p) for p in patterns)}


@pytest.fixture
def tmp_path(tmp_path):
    """pytest keeps the folders of three runs, but these hold checkpoints of 100 MB."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.fixture(scope="session")
def golden(shared):
    spec = importlib.util.spec_from_file_location("golden_fill", shared / "golden" / "fill.py")
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    return lambda name: Golden(shared / "golden", fill, name)


@pytest.fixture(scope="session")
def embed():
    """Run a LoadedNetwork, or another module under its contract, on BGR crops."""

    def run(loaded, crops, module=None, dtype=torch.float32):
        pixels = torch.from_numpy(preprocess(crops, loaded.input)).to(dtype)
        with torch.no_grad():
            return (module or loaded.network)(pixels).numpy()

    return run


@pytest.fixture(scope="session")
def relative_error():
    def error(got, expected):
        assert got.shape == expected.shape
        return float(
            (np.linalg.norm(got - expected, axis=1) / np.linalg.norm(expected, axis=1)).max()
        )

    return error
