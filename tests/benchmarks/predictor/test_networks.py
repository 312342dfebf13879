"""The described networks against published sizes."""

import pytest

from benchmarks.predictor.figures import read_figures
from benchmarks.predictor.networks import NETWORKS, network
from benchmarks.predictor.networks.resnet import resnet
from runtime.errors import ReidEdgeError

# 10^9 multiply-accumulates and 10^6 parameters. torchvision's and timm's model tables; YOLOv3: 65.9 and
# 5.56 BFLOP of its home page, halved; YOLOv5: 4.5, 16.5, 205.7 and (v2.0) 17.5 GFLOP of its releases,
# halved; MobileNet-SSD: 1.15 of chuanqi305's page; EfficientNet-lite: the TPU models'
# page; the others: the papers' tables.
PUBLISHED = {
    "alexnet": (0.714, 61.1),
    "densenet121": (2.834, 7.98),
    "densenet161": (7.728, 28.7),
    "densenet201": (4.291, 20.0),
    "efficientnet_lite0": (0.407, 4.7),
    "efficientnet_lite1": (0.631, 5.4),
    "efficientnet_lite2": (0.899, 6.1),
    "efficientnet_lite3": (1.44, 8.2),
    "googlenet": (1.498, 6.62),
    "inception_v3": (5.713, 23.8),
    "inception_v4": (12.27, 42.7),
    "mnasnet0_5": (0.104, 2.22),
    "mnasnet0_75": (0.215, 3.17),
    "mnasnet1_3": (0.526, 6.28),
    "mobilenet_ssd_voc": (1.15, 5.8),
    "mobilenet_v1": (0.569, 4.2),
    "mobilenet_v2": (0.301, 3.50),
    "mobilenet_v4_conv_small": (0.19, 3.77),
    "mobileone_s1": (0.825, 4.8),
    "repghost_1_0": (0.142, 4.07),
    "repvgg_a1": (2.36, 12.78),
    "repvit_m0_9": (0.83, 5.1),
    "resnet18": (1.814, 11.7),
    "resnet34": (3.664, 21.8),
    "resnet50": (4.089, 25.6),
    "resnet101": (7.801, 44.5),
    "shufflenet_v2_x0_5": (0.0406, 1.37),
    "shufflenet_v2_x1_0": (0.1449, 2.28),
    "shufflenet_v2_x1_5": (0.2957, 3.50),
    "shufflenet_v2_x2_0": (0.5834, 7.39),
    "squeezenet1_1": (0.349, 1.235),
    "vgg11": (7.609, 132.9),
    "vgg16": (15.47, 138.4),
    "vgg19": (19.63, 143.7),
    "yolov3": (32.95, 61.9),
    "yolov3_tiny": (2.78, 8.86),
    "yolov5n": (2.25, 1.87),
    "yolov5s": (8.25, 7.23),
    "yolov5s_v2": (8.75, 7.5),
    "yolov5x": (102.85, 86.7),
}
NOT_PUBLISHED = {"centernet_resnet50", "fcos_efficientnetb0", "ssd_mobilenet_v1"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_size_is_the_published_one(name):
    gmacs, parameters = PUBLISHED[name]
    cost = network(name)
    # The TPU models' page counts normalisation and activations of EfficientNet-lite too.
    assert cost.macs / 1e9 == pytest.approx(gmacs, rel=0.06 if "lite" in name else 0.03)
    assert cost.weights / 1e6 == pytest.approx(parameters, rel=0.015)


def test_every_network_is_checked_or_stands_on_one_that_is():
    assert set(PUBLISHED) | NOT_PUBLISHED == set(NETWORKS)


def test_detectors_without_published_sizes_by_hand():
    """Backbone at 512x512 without its classifier, plus what stands on it."""
    backbone = network("resnet50", 512).macs - 2048 * 1000
    decoder = 16 * 16 * 2048 * 256 * 16 + 32 * 32 * 256 * 128 * 16 + 64 * 64 * 128 * 64 * 16
    heads = 128 * 128 * (3 * 64 * 64 * 9 + 64 * 84)
    assert network("centernet_resnet50").macs == backbone + decoder + heads
    # 91 instead of 21 classes on the same maps
    positions = 19 * 19 * 3 * 512 + 6 * (100 * 1024 + 25 * 512 + 9 * 256 + 4 * 256 + 1 * 128)
    assert network("ssd_mobilenet_v1").macs - network("mobilenet_ssd_voc").macs == 70 * positions


def test_fact_of_the_project_bot_resnet50():
    """256x128 with last stride 1: 4.053 GMAC; with last stride 2: 2.669."""
    assert resnet(50, (256, 128), 1, 0).macs / 1e9 == pytest.approx(4.053, abs=1e-3)
    assert resnet(50, (256, 128), 2, 0).macs / 1e9 == pytest.approx(2.669, abs=1e-3)


def test_every_usable_figure_has_a_network_at_its_size():
    for figure in read_figures():
        if not figure.excluded:
            cost = network(figure.network, figure.size)
            assert figure.size is None or cost.input[1:] == (figure.size, figure.size)


def test_unknown_network_lists_the_known():
    with pytest.raises(ReidEdgeError, match="resnet18, resnet34"):
        network("resnet19")
