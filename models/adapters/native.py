"""reid-edge's own checkpoints: the weights, and a header that says what they are weights of.

``{"reid_edge": {"schema": 1, "spec": {...}, "provenance": {...}}, "state_dict": {...}}``, a torch
file of tensors and plain values only. The family is recognised by the header and never by keys, so
nothing has to be assumed. Tensors of two or more dimensions may be stored as float16.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.adapters.adapter import LoadOptions, Plan, State, embedding_of, feature_of
from models.spec import NetworkSpec, assemble
from models.state_file import HEADER
from runtime.errors import ReidEdgeError

FAMILY = "reid-edge"
SCHEMA = 1

Provenance = dict[str, str | int | float]


def save_network(
    path: str | Path,
    network: nn.Module,
    spec: NetworkSpec,
    provenance: Mapping[str, str | int | float],
    *,
    half: bool = False,
) -> None:
    """Write a checkpoint that ``models.checkpoint.load_network`` reads, whole or not at all.

    Args:
        path: File to write; one that exists is replaced.
        network: Holds the weights of ``spec``, on any device and in any float precision.
        spec: The network's specification.
        provenance: What a reader should know: recipe, training data, seed, epoch, ... The entries
            become the loaded network's notes; texts are single lines.
        half: Store matrices and filters as float16, which halves the file; vectors (BatchNorm and
            biases) stay float32, since their range is wide and their size is not.

    Raises:
        ReidEdgeError: The weights do not fit ``spec``, are not finite or too large for float16;
            unsuitable provenance; the file cannot be written.
    """
    path = Path(path)
    state = {key: value.detach().cpu() for key, value in network.state_dict().items()}
    _check_fits(state, spec)
    stored = {key: _stored(key, value, half) for key, value in state.items()}
    header = {"schema": SCHEMA, "spec": spec.to_dict(), "provenance": _provenance(provenance)}
    buffer = io.BytesIO()
    torch.save({HEADER: header, "state_dict": stored}, buffer)
    hidden = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            with open(hidden, "wb") as file:
                file.write(buffer.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            os.replace(hidden, path)
        finally:
            hidden.unlink(missing_ok=True)
    except OSError as error:
        raise ReidEdgeError(
            f"Cannot write checkpoint {path}: {error.strerror or error}; choose another place."
        ) from None


def plan(header: Any, state: State, options: LoadOptions) -> Plan:
    """Read a checkpoint of this family.

    Args:
        header: What the file has under ``HEADER``.
        state: Flat state dict.
        options: The user's choices; those that contradict the header are refused.

    Raises:
        ReidEdgeError: A newer or broken header, or options that contradict it.
    """
    spec, provenance = read_header(header)
    spec = _with_options(spec, options)
    network = assemble(spec, feature=feature_of(options), rga_form=options.rga_form)
    return Plan(
        spec.arch,
        network,
        state,
        spec.input_contract(),
        embedding_of(network),
        notes=tuple(f"{key.replace('_', ' ')}: {value}" for key, value in provenance.items()),
        spec=spec,
    )


def read_header(header: Any) -> tuple[NetworkSpec, Provenance]:
    """The specification and provenance in a checkpoint's header.

    Raises:
        ReidEdgeError: Not a header, a newer schema, or values out of range.
    """
    version = header.get("schema") if isinstance(header, dict) else None
    if type(version) is not int or version < 1:
        raise ReidEdgeError(
            f"The checkpoint's {HEADER} entry must have an integer schema from 1, got {version!r}; "
            "the file is damaged or not from reid-edge."
        )
    if version > SCHEMA:
        raise ReidEdgeError(
            f"The checkpoint has schema {version}, but this reid-edge reads up to {SCHEMA}; update "
            "reid-edge."
        )
    entries = {"schema", "spec", "provenance"}
    if set(header) != entries:
        raise ReidEdgeError(
            f"The checkpoint's {HEADER} entry must have {', '.join(sorted(entries))}, got "
            f"{', '.join(sorted(map(str, header)))}; the file is damaged or not from reid-edge."
        )
    return NetworkSpec.from_dict(header["spec"]), _provenance(header["provenance"])


def _with_options(spec: NetworkSpec, options: LoadOptions) -> NetworkSpec:
    """The specification at the requested input size."""
    for flag, asked, stated in (
        ("--last-stride", options.last_stride, spec.last_stride),
        ("--stem-relu", options.stem_relu, spec.stem_relu),
        ("--pool", options.pool, spec.pool),
    ):
        if asked is not None and asked != stated:
            raise ReidEdgeError(
                f"{flag} {asked} contradicts the checkpoint, which states {stated}; leave it out."
            )
    if options.gem_p is not None:
        raise ReidEdgeError(
            f"--gem-p does not apply to {spec.arch}: a GeM exponent is among its weights; leave it "
            "out."
        )
    size = options.height or spec.height_px, options.width or spec.width_px
    if spec.bakes_size and size != (spec.height_px, spec.width_px):
        raise ReidEdgeError(
            f"The weights of {spec.arch} are made for {spec.height_px}x{spec.width_px} input only, "
            f"got {size[0]}x{size[1]}; leave --height and --width out."
        )
    return replace(spec, height_px=size[0], width_px=size[1])


def _check_fits(state: State, spec: NetworkSpec) -> None:
    with torch.device("meta"):
        expected = {key: value.shape for key, value in assemble(spec).state_dict().items()}
    found = {key: value.shape for key, value in state.items()}
    if found != expected:
        key = min(k for k in {*found, *expected} if found.get(k) != expected.get(k))
        shapes = (str(list(s[key])) if key in s else "nothing" for s in (expected, found))
        raise ReidEdgeError(
            "The network is not the one of specification {}: {} should be {}, got {}; save it with "
            "the specification it was built from.".format(spec.arch, key, *shapes)
        )


def _stored(key: str, value: torch.Tensor, half: bool) -> torch.Tensor:
    """The tensor as it goes to the file: contiguous and of its own storage."""
    if value.is_floating_point():
        value = value.to(torch.float16 if half and value.dim() > 1 else torch.float32)
        if not bool(torch.isfinite(value).all()):
            raise ReidEdgeError(
                f"{key} has weights that are not finite{' as float16' if half else ''}, so the "
                "network is not saved; save an earlier state or "
                f"{'leave half out' if half else 'train with a lower learning rate'}."
            )
    return value.clone(memory_format=torch.contiguous_format)


def _provenance(entries: Any) -> Provenance:
    """Plain, checked provenance: names to printable single lines and finite numbers."""
    if not isinstance(entries, Mapping):
        raise ReidEdgeError(
            f"A checkpoint's provenance must be a mapping, got {type(entries).__name__}."
        )
    plain: Provenance = {}
    for key, value in entries.items():
        if not isinstance(key, str) or not key.isidentifier():
            raise ReidEdgeError(
                f"A checkpoint's provenance must have names such as training_data, got {key!r}."
            )
        if isinstance(value, str) and value.isprintable():
            plain[key] = str(value)
        elif isinstance(value, Integral):
            plain[key] = int(value)
        elif isinstance(value, Real) and abs(float(value)) < float("inf"):
            plain[key] = float(value)
        else:
            raise ReidEdgeError(
                f"A checkpoint's provenance must be single lines and finite numbers, got {value!r} "
                f"for {key}."
            )
    return plain
