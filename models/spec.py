"""The specification of a network, as data, and the network built from it.

A recipe states it, reid-edge's own checkpoints carry it (``models/adapters/native.py``), so a
trained network never has to be guessed from its keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar

from torch import nn

from models.network import ReidNetwork, bn_neck, fc_neck
from models.osnet import WIDTHS as OSNET_WIDTHS
from models.osnet import OSNet, OSNetConfig
from models.pooling import AttentionPool, AvgPool, GeMPool, MaxPool
from models.resnest import RESNESTS, ResNeSt
from models.resnet import DEPTHS, NonLocal, ResNet, ResNetConfig
from models.rga import RelationAttention, RelationShape
from runtime.contract import InputContract
from runtime.errors import ReidEdgeError

RESNETS = {
    **{f"resnet{depth}": ResNetConfig.of_depth(depth) for depth in DEPTHS},
    "resnext50_32x4d": ResNetConfig.of_depth(50, groups=32, group_width=4),
    "resnext101_32x8d": ResNetConfig.of_depth(101, groups=32, group_width=8),
}
OSNETS = {
    f"osnet{'' if variant == 'plain' else '_' + variant}_{name}": OSNetConfig(channels, variant)
    for variant in ("plain", "ibn", "ain")
    for name, channels in OSNET_WIDTHS.items()
}
BACKBONES = (*RESNETS, *RESNESTS, *OSNETS)
RGA_BRANCHES = ("none", "s", "c", "sc")
POOLS: dict[str, Callable[[], nn.Module]] = {"avg": AvgPool, "max": MaxPool, "gem": GeMPool}
HEADS = ("bnneck", "linear", "reduction")
SIZE_PX = (32, 1024)  # five halvings leave one position; the upper bound is a typing mistake


@dataclass(frozen=True)
class NetworkSpec:
    """Everything that decides which function the weights of a network are the weights of.

    Attributes:
        backbone: One of ``BACKBONES``, e.g. ``"resnet50"`` or ``"osnet_ain_x1_0"``.
        width: Channels of the first stage before expansion, of the whole ResNet family; 64 is the
            published network, 32 half of it. A multiple of 8, of 16 for ResNeXt.
        last_stride: Stride of stage 4, 1 or 2.
        ibn: IBN-a in stages 1 to 3 (Pan et al., ECCV 2018).
        stem_relu: ReLU behind the stem's BatchNorm; without it only to continue networks of
            reid-strong-baseline.
        ceil_pool: Stem max pool in ceil mode without padding, as fast-reid's.
        non_local: Non-local blocks behind the last so many blocks of each stage.
        rga: Relation-aware global attention behind every stage: ``"none"``, ``"s"`` (spatial),
            ``"c"`` (channel) or ``"sc"``. Bakes the input size into the weights.
        pool: Global pooling: ``"avg"``, ``"max"``, ``"gem"`` (learned exponent) or
            ``"attention"``, which bakes the input size in.
        head: ``"bnneck"`` (BatchNorm on the pooled vector), ``"linear"`` (Linear to ``dim``) or
            ``"reduction"`` (Linear to ``dim``, then BatchNorm).
        dim: Length of the embedding for ``linear`` and ``reduction``; ``None`` for ``bnneck``,
            which keeps the backbone's.
        height_px, width_px: Network input in pixels.

    Raises:
        ReidEdgeError: A value out of range, or options that the backbone does not have.
    """

    # For pydantic, where a recipe contains a specification; without pydantic it means nothing.
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    backbone: str
    width: int = 64
    last_stride: int = 1
    ibn: bool = False
    stem_relu: bool = True
    ceil_pool: bool = False
    non_local: tuple[int, int, int, int] = (0, 0, 0, 0)
    rga: str = "none"
    pool: str = "avg"
    head: str = "bnneck"
    dim: int | None = None
    height_px: int = 256
    width_px: int = 128

    def __post_init__(self) -> None:
        for name, allowed in (
            ("backbone", BACKBONES),
            ("last_stride", (1, 2)),
            ("ibn", (False, True)),
            ("stem_relu", (False, True)),
            ("ceil_pool", (False, True)),
            ("rga", RGA_BRANCHES),
            ("pool", (*POOLS, "attention")),
            ("head", HEADS),
        ):
            value = getattr(self, name)
            if not any(type(value) is type(choice) and value == choice for choice in allowed):
                raise ReidEdgeError(
                    f"Network {name} must be one of {', '.join(map(str, allowed))}, got {value!r}."
                )
        self._check_width()
        self._check_non_local()
        self._check_head()
        for name in ("height_px", "width_px"):
            value = getattr(self, name)
            if type(value) is not int or not SIZE_PX[0] <= value <= SIZE_PX[1]:
                raise ReidEdgeError(
                    f"Network {name} must be an integer from {SIZE_PX[0]} to {SIZE_PX[1]} pixels, "
                    f"got {value!r}."
                )
        if self.ceil_pool and self.bakes_size and (self.height_px % 4 or self.width_px % 4):
            # There the two stem pools give maps of different sizes.
            raise ReidEdgeError(
                "With ceil_pool, rga and attention pooling need height_px and width_px that are "
                f"multiples of 4, got {self.height_px} and {self.width_px}."
            )
        self._check_family()

    @property
    def arch(self) -> str:
        """Name of the architecture, without the input size: ``rga_sc_resnet18_w32``, ..."""
        parts = [
            "" if self.rga == "none" else f"rga_{self.rga}",
            self.backbone,
            "ibn_a" if self.ibn else "",
            "" if self.width == 64 else f"w{self.width}",
            "" if self.last_stride == 1 else f"s{self.last_stride}",
            "" if self.stem_relu else "norelu",
            "ceil" if self.ceil_pool else "",
            "nl" + "-".join(map(str, self.non_local)) if any(self.non_local) else "",
            "" if self.pool == "avg" else self.pool,
            "" if self.head == "bnneck" else f"{self.head}{self.dim}",
        ]
        return "_".join(part for part in parts if part)

    @property
    def bakes_size(self) -> bool:
        """Whether the weights fit one input size only."""
        return self.rga != "none" or self.pool == "attention"

    def input_contract(self) -> InputContract:
        """RGB, 1/255, ImageNet mean and standard deviation, bilinear, at the network's size."""
        return InputContract(self.height_px, self.width_px)

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON keeps: tuples are lists."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> NetworkSpec:
        """The inverse of ``to_dict``; every field must be there, since a default may change.

        Raises:
            ReidEdgeError: Not a mapping, unknown or missing fields, or values out of range.
        """
        if not isinstance(data, Mapping):
            raise ReidEdgeError(
                f"A network specification must be a mapping, got {type(data).__name__}."
            )
        known = {f.name for f in fields(cls)}
        unknown, missing = sorted(map(str, set(data) - known)), sorted(known - set(data))
        if unknown or missing:
            raise ReidEdgeError(
                f"The network specification has unknown fields {unknown} and lacks fields "
                f"{missing}; use the version of reid-edge that wrote it."
            )
        values: dict[str, Any] = dict(data)
        if isinstance(values["non_local"], list):
            values["non_local"] = tuple(values["non_local"])
        return cls(**values)

    def _check_width(self) -> None:
        # The groups of ResNeXt shrink with the width and must keep whole channels.
        unit = 16 if self.backbone in RESNETS and RESNETS[self.backbone].groups > 1 else 8
        if type(self.width) is not int or not unit <= self.width <= 512 or self.width % unit:
            raise ReidEdgeError(
                f"Width of {self.backbone} must be a multiple of {unit} from {unit} to 512, got "
                f"{self.width!r}."
            )

    def _check_non_local(self) -> None:
        counts = self.non_local
        if not (
            isinstance(counts, tuple)
            and len(counts) == 4
            and all(type(count) is int and count >= 0 for count in counts)
        ):
            raise ReidEdgeError(
                f"Network non_local must be four counts, one per stage, got {counts!r}."
            )
        config = RESNETS.get(self.backbone)
        if config and any(count > blocks for count, blocks in zip(counts, config.layers)):
            raise ReidEdgeError(
                f"Network non_local is {counts}, but {self.backbone} has only {config.layers} "
                "blocks in its stages; use smaller counts."
            )

    def _check_head(self) -> None:
        if self.head == "bnneck" and self.dim is not None:
            raise ReidEdgeError(
                f"Head bnneck keeps the backbone's channels, but dim is {self.dim!r}; leave dim "
                "out or use head reduction."
            )
        if self.head != "bnneck" and (type(self.dim) is not int or not 1 <= self.dim <= 8192):
            raise ReidEdgeError(
                f"Head {self.head} needs dim, an integer from 1 to 8192, got {self.dim!r}."
            )

    def _check_family(self) -> None:
        """Refuse options that differ from their default where the backbone has no such part."""
        absent: tuple[str, ...] = ()
        if self.backbone in RESNESTS:
            absent = ("ibn", "stem_relu", "ceil_pool", "non_local")
        if self.backbone in OSNETS:
            absent = ("width", "last_stride", "ibn", "stem_relu", "ceil_pool", "non_local", "rga")
        defaults = {f.name: f.default for f in fields(self)}
        for name in absent:
            if getattr(self, name) != defaults[name]:
                raise ReidEdgeError(
                    f"Backbone {self.backbone} has no option {name}, which is "
                    f"{getattr(self, name)!r}; leave it out or choose a ResNet."
                )


def assemble(
    spec: NetworkSpec, *, feature: str = "after_neck", rga_form: str = "reassociated"
) -> ReidNetwork:
    """The modules of ``spec`` with whatever weights their constructors give.

    Args:
        spec: The network.
        feature: What ``forward`` returns, ``"after_neck"`` or ``"before_neck"``.
        rga_form: ``"reassociated"`` or ``"original"``; same parameters, same function.
    """
    backbone, map_size = _backbone(spec, rga_form)
    channels = int(backbone.out_channels)  # type: ignore[arg-type]
    pool: nn.Module
    if spec.pool == "attention":
        pool = AttentionPool(channels, *map_size)
    else:
        pool = POOLS[spec.pool]()
    neck: nn.Module
    if spec.dim is None:
        neck = bn_neck(channels)
    elif spec.head == "linear":
        neck = nn.Linear(channels, spec.dim)
    else:
        neck = fc_neck(channels, spec.dim, relu=False)
    return ReidNetwork(backbone, pool, neck, spec.dim or channels, feature)


def build_network(spec: NetworkSpec, *, rga_form: str = "reassociated") -> ReidNetwork:
    """A freshly initialised network in training mode, without a classifier.

    Convolutions and linear layers are Kaiming-normal in fan-out mode (He et al., ICCV 2015), their
    biases 0; BatchNorm and InstanceNorm start at 1 and 0. Non-local blocks start as the identity.
    The last BatchNorm's bias stays 0 and is not trained (``requires_grad`` false): behind it the
    classifier needs no shift (Luo et al., CVPRW 2019). Random numbers are torch's global ones.

    Args:
        spec: The network.
        rga_form: As in ``assemble``.
    """
    network = assemble(spec, rga_form=rga_form)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, NonLocal):
            # Fan-out of one channel would make their triple product overflow half precision.
            for conv in (module.g, module.theta, module.phi):
                conv.reset_parameters()
            nn.init.zeros_(module.get_parameter("W.1.weight"))
    assert network.neck is not None
    last = network.neck[-1] if isinstance(network.neck, nn.Sequential) else network.neck
    if isinstance(last, nn.BatchNorm1d):
        last.bias.requires_grad_(False)
    return network.train()


def _backbone(spec: NetworkSpec, rga_form: str) -> tuple[nn.Module, tuple[int, int]]:
    """The backbone, and (height, width) of its feature map."""
    if spec.backbone in OSNETS:
        osnet = OSNet(OSNETS[spec.backbone])
        return osnet, osnet.map_size(spec.height_px, spec.width_px)
    if spec.backbone in RESNESTS:
        published = RESNESTS[spec.backbone]
        split = replace(
            published,
            width=spec.width,
            stem_width=published.stem_width * spec.width // 64,
            last_stride=spec.last_stride,
        )
        sizes = split.stage_sizes(spec.height_px, spec.width_px)
        attention = _attention(spec, split.stage_channels, sizes, rga_form)
        return ResNeSt(split, attention), sizes[-1]
    config = replace(
        RESNETS[spec.backbone],
        width=spec.width,
        last_stride=spec.last_stride,
        ibn=spec.ibn,
        stem_relu=spec.stem_relu,
        ceil_pool=spec.ceil_pool,
        non_local=spec.non_local,
    )
    sizes = config.stage_sizes(spec.height_px, spec.width_px)
    attention = _attention(spec, config.stage_channels, sizes, rga_form)
    return ResNet(config, attention), sizes[-1]


def _attention(
    spec: NetworkSpec,
    channels: tuple[int, ...],
    sizes: tuple[tuple[int, int], ...],
    rga_form: str,
) -> dict[int, nn.Module]:
    """RGA modules by stage number 1 to 4; none where the specification asks for none."""
    if spec.rga == "none":
        return {}
    return {
        stage: RelationAttention(
            RelationShape(c, *size, "s" in spec.rga, "c" in spec.rga), rga_form
        )
        for stage, (c, size) in enumerate(zip(channels, sizes), start=1)
    }
