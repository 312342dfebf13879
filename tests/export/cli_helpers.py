"""A small checkpoint, a drawn data set, and ``reid-export`` run in this process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from export.cli import main
from export.graph import Graph
from export.rewrites import fold_batchnorm, name_nodes
from export.trace import trace
from models.checkpoint import source_state_dict
from models.network import ReidNetwork, bn_neck
from models.pooling import AvgPool
from models.resnet import ResNet, ResNetConfig
from models.zoo import demo_crops
from runtime.contract import InputContract
from runtime.preprocess import preprocess

HEIGHT, WIDTH = 64, 32
SIZE = ["--height", str(HEIGHT), "--width", str(WIDTH)]
QUICK = ["--calib-count", "8", "--improve", "none", "--calib-method", "minmax", "--threads", "1"]

FP16 = ["--target", "xavier", "--precision", "fp16", *SIZE]
INT8 = ["--target", "xavier", *SIZE, *QUICK]

torch.set_num_threads(1)  # several test processes may share few cores


def small_network(seed: int = 0, width: int = 16) -> ReidNetwork:
    """A ResNet-18 of a quarter of the usual width with a BNNeck, without a stem ReLU.

    Its weights are He-normal, its BatchNorm statistics those of drawn people, so that no channel is
    dead and rounding hurts as much as in a trained network.
    """
    torch.manual_seed(seed)
    backbone = ResNet(ResNetConfig.of_depth(18, width=width, stem_relu=False))
    network = ReidNetwork(
        backbone, AvgPool(), bn_neck(backbone.out_channels), backbone.out_channels
    )
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.momentum = 1.0  # one batch sets the statistics
    crops = [image for image, _, _ in demo_crops(16, 4, seed=seed + 1)]
    with torch.no_grad():
        network.train()(torch.from_numpy(preprocess(crops, InputContract(HEIGHT, WIDTH))))
    return network.eval().requires_grad_(False)


def float_graph(network: nn.Module) -> Graph:
    """The rewritten float graph of a network without an inference-only form, at the small size."""
    graph = Graph(trace(network, InputContract(HEIGHT, WIDTH)))
    fold_batchnorm(graph)
    name_nodes(graph)
    return graph


def drawn_pixels(n: int, seed: int = 7) -> np.ndarray:
    """(n, 3, HEIGHT, WIDTH) float32: drawn people no other helper uses."""
    crops = [image for image, _, _ in demo_crops(-(-n // 4), 4, seed)][:n]
    return preprocess(crops, InputContract(HEIGHT, WIDTH))


def small_state(seed: int = 0) -> dict[str, torch.Tensor]:
    """``small_network`` as reid-strong-baseline stores it."""
    return source_state_dict(small_network(seed), "reid-strong-baseline")


def save(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def market_folder(root: Path, identities: int = 8, each: int = 6, seed: int = 0) -> Path:
    """Draw a data set in Market-1501's layout: as many identities to train on as to test on."""
    for folder in ("bounding_box_train", "bounding_box_test", "query"):
        (root / folder).mkdir(parents=True)
    seen: set[tuple[int, int]] = set()
    for number, (image, person, camera) in enumerate(demo_crops(2 * identities, each, seed)):
        name = "%04d_c%ds1_%06d_00.png" % (person, camera, number)
        folder = "bounding_box_train"
        if person > identities:  # the first picture of each camera but the last is a query
            asks = camera < 3 and (person, camera) not in seen
            folder = "query" if asks else "bounding_box_test"
            seen.add((person, camera))
        if not cv2.imwrite(str(root / folder / name), image):
            raise OSError("cannot draw %s" % name)
    return root


@dataclass(frozen=True)
class Outcome:
    """What a run of the command left on its streams."""

    status: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one line an error may print, without the command's name."""
        lines = self.err.splitlines()
        assert len(lines) == 1, "expected one line on stderr, got %r" % self.err
        assert lines[0].startswith("reid-export: ") and lines[0].endswith("."), lines[0]
        assert self.out == ""
        return lines[0][len("reid-export: ") :]


def run(capsys, *arguments: object) -> Outcome:
    """``reid-export`` with these arguments; argparse's own exit counts like a returned status."""
    capsys.readouterr()
    try:
        status = main([str(a) for a in arguments])
    except SystemExit as exit_:
        status = int(exit_.code or 0)
    captured = capsys.readouterr()
    return Outcome(status, captured.out, captured.err)


# -- fixtures, imported by the tests of the command -------------------------------------------------


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    return save(tmp_path_factory.mktemp("checkpoint") / "small.pth", small_state())


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    return market_folder(tmp_path_factory.mktemp("data") / "market")


@pytest.fixture
def place(tmp_path) -> Path:
    """An empty folder for the bundle; the input lies elsewhere."""
    folder = tmp_path / "bundles"
    folder.mkdir()
    return folder


@pytest.fixture
def refuse(capsys, place):
    """Run the command; it must fail with one sentence and leave ``place`` empty."""

    def refuse_(*arguments, status=2) -> str:
        outcome = run(capsys, *arguments, "--out", place / "bundle")
        sentence = outcome.sentence
        assert outcome.status == status, sentence
        assert list(place.iterdir()) == []
        return sentence

    return refuse_
