"""The networks of the published figures, described by hand."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Callable, Dict, Tuple, Union

from benchmarks.predictor.cost import NetworkCost
from benchmarks.predictor.networks import (
    densenet,
    fcos,
    inception,
    mobile,
    plain,
    reparam,
    resnet,
    shufflenet,
    yolo,
)
from runtime.errors import ReidEdgeError

NETWORKS: Dict[str, Callable[..., NetworkCost]] = {
    "alexnet": plain.alexnet,
    "centernet_resnet50": resnet.centernet,
    "densenet121": partial(densenet.densenet, 121),
    "densenet161": partial(densenet.densenet, 161),
    "densenet201": partial(densenet.densenet, 201),
    "efficientnet_lite0": partial(mobile.efficientnet_lite, 0),
    "efficientnet_lite1": partial(mobile.efficientnet_lite, 1),
    "efficientnet_lite2": partial(mobile.efficientnet_lite, 2),
    "efficientnet_lite3": partial(mobile.efficientnet_lite, 3),
    "fcos_efficientnetb0": fcos.fcos_efficientnet,
    "googlenet": inception.googlenet,
    "inception_v3": inception.inception_v3,
    "inception_v4": inception.inception_v4,
    "mnasnet0_5": partial(mobile.mnasnet, 0.5),
    "mnasnet0_75": partial(mobile.mnasnet, 0.75),
    "mnasnet1_3": partial(mobile.mnasnet, 1.3),
    "mobilenet_ssd_voc": partial(mobile.ssd_mobilenet_v1, classes=21),
    "mobilenet_v1": mobile.mobilenet_v1,
    "mobilenet_v2": mobile.mobilenet_v2,
    "mobilenet_v4_conv_small": mobile.mobilenet_v4_conv_small,
    "mobileone_s1": reparam.mobileone_s1,
    "repghost_1_0": reparam.repghost,
    "repvgg_a1": plain.repvgg_a1,
    "repvit_m0_9": reparam.repvit_m0_9,
    "resnet18": partial(resnet.resnet, 18),
    "resnet34": partial(resnet.resnet, 34),
    "resnet50": partial(resnet.resnet, 50),
    "resnet101": partial(resnet.resnet, 101),
    "shufflenet_v2_x0_5": partial(shufflenet.shufflenet, "0.5"),
    "shufflenet_v2_x1_0": partial(shufflenet.shufflenet, "1.0"),
    "shufflenet_v2_x1_5": partial(shufflenet.shufflenet, "1.5"),
    "shufflenet_v2_x2_0": partial(shufflenet.shufflenet, "2.0"),
    "squeezenet1_1": plain.squeezenet,
    "ssd_mobilenet_v1": mobile.ssd_mobilenet_v1,
    "vgg11": partial(plain.vgg, 11),
    "vgg16": partial(plain.vgg, 16),
    "vgg19": partial(plain.vgg, 19),
    "yolov3": yolo.yolov3,
    "yolov3_tiny": yolo.yolov3_tiny,
    "yolov5n": partial(yolo.yolov5, "n"),
    "yolov5s": partial(yolo.yolov5, "s"),
    "yolov5s_v2": partial(yolo.yolov5, "s", version="v2.0"),
    "yolov5x": partial(yolo.yolov5, "x"),
}


@lru_cache(maxsize=None)
def network(name: str, size: Union[int, Tuple[int, int], None] = None) -> NetworkCost:
    """A described network at an input size (a side, or height and width; default: its own).

    Raises:
        ReidEdgeError: No such network.
    """
    if name not in NETWORKS:
        raise ReidEdgeError(
            "There is no description of %r; described are: %s." % (name, ", ".join(NETWORKS))
        )
    return NETWORKS[name]() if size is None else NETWORKS[name](size=size)
