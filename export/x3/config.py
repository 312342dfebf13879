"""The YAML file of ``hb_mapper makertbin``: made from an input contract, written, read, validated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError as PydanticError

from export.x3.contradictions import contradictions
from export.x3.schema import Sections
from runtime.contract import InputContract
from runtime.errors import ReidEdgeError

INPUT_KINDS = ("nv12", "rgb", "bgr", "featuremap")
OPTIMIZE_LEVELS = ("O0", "O1", "O2", "O3")
CALIBRATION_TYPES = ("default", "mix", "kl", "max", "skip")
_SINGLE_LINE = 10**9  # characters; else the YAML writer folds long lines


@dataclass(frozen=True)
class CompilerOptions:
    """What a user may choose of the rest of the configuration.

    Attributes:
        max_percentile: Share of values kept, 0.5..1, of the calibration type ``"max"``.
        core_num: BPU cores for one inference, 1 or 2.
        optimize_level: ``"O0"`` to ``"O3"``; anything below is for debugging.
        debug: Also put the time of each layer into the .bin for the performance report; larger.
    """

    max_percentile: float | None = None
    core_num: int = 1
    optimize_level: str = "O3"
    debug: bool = False

    def check(self, calibration_type: str) -> None:
        """Raise ReidEdgeError for a value hb_mapper does not take; names are the command's options."""
        share = self.max_percentile
        if share is not None and (calibration_type != "max" or not 0.5 < share <= 1):
            raise ReidEdgeError(
                "--max-percentile must be above 0.5 and at most 1 and goes with --calibration-type max, "
                "got %s with %s." % (share, calibration_type)
            )
        if self.core_num not in (1, 2):
            raise ReidEdgeError(
                "--core-num must be 1 or 2, which the X3 has, got %d." % self.core_num
            )
        if self.optimize_level not in OPTIMIZE_LEVELS:
            raise ReidEdgeError(
                "--optimize-level must be one of %s, got %r."
                % (", ".join(OPTIMIZE_LEVELS), self.optimize_level)
            )


COMPILER_DEFAULTS = CompilerOptions()


def make_config(
    contract: InputContract,
    kind: str = "nv12",
    *,
    onnx_model: str,
    prefix: str,
    input_name: str,
    cal_data_dir: str | None,
    calibration_type: str = "default",
    working_dir: str = "model_output",
    compiler: CompilerOptions = COMPILER_DEFAULTS,
) -> Sections:
    """The configuration of a network with one input, NCHW, whose pixels the contract describes.

    Args:
        contract: What the network expects. The toolchain computes ``(data - mean) * scale`` on
            pixels of 0..255, so ``mean = contract.mean / contract.scale`` and
            ``scale = contract.scale / contract.std``, in the contract's colour order.
        kind: What the board feeds: ``"nv12"`` (camera), ``"rgb"`` or ``"bgr"`` (uint8, NHWC), or
            ``"featuremap"`` (float32, NCHW, prepared by the runtime, nothing done inside).
        onnx_model: Path of the ONNX file, as seen from where hb_mapper runs.
        prefix: Name of the files it makes.
        input_name: Name of the network's input.
        cal_data_dir: Folder of calibration files; None only with ``calibration_type`` ``"skip"``.
        calibration_type: One of ``CALIBRATION_TYPES``.
        working_dir: Folder of the results.
        compiler: The rest.

    Raises:
        ReidEdgeError: An unknown kind, an odd size for NV12, or a value the schema refuses.
    """
    if kind not in INPUT_KINDS:
        raise ReidEdgeError(
            "The input kind must be one of %s, got %r." % (", ".join(INPUT_KINDS), kind)
        )
    image = kind != "featuremap"
    inputs: dict[str, Any] = {
        "input_name": input_name,
        "input_type_train": contract.color.lower() if image else "featuremap",
        "input_layout_train": "NCHW",
        "input_type_rt": kind,
        # The X3 computes in NHWC. NV12 has no layout to choose.
        # runtime/nv12.py makes NV12 as OpenCV does, in the video range; the default is full range.
        **(
            {"input_space_and_range": "bt601_video"}
            if kind == "nv12"
            else {"input_layout_rt": "NHWC" if image else "NCHW"}
        ),
        "input_shape": "1x%dx%dx%d" % contract.shape,
        "input_batch": 1,
        **(normalization(contract) if image else {"norm_type": "no_preprocess"}),
    }
    calibration: dict[str, Any] = {"preprocess_on": False, "calibration_type": calibration_type}
    if cal_data_dir is not None:
        calibration.update(cal_data_dir=cal_data_dir, cal_data_type="float32")
    if compiler.max_percentile is not None:
        calibration["max_percentile"] = compiler.max_percentile
    return parse(
        {
            "model_parameters": {
                "onnx_model": onnx_model,
                "march": "bernoulli2",
                "output_model_file_prefix": prefix,
                "working_dir": working_dir,
                "layer_out_dump": False,
            },
            "input_parameters": inputs,
            "calibration_parameters": calibration,
            "compiler_parameters": {
                "compile_mode": "latency",
                "debug": compiler.debug,
                "core_num": compiler.core_num,
                "optimize_level": compiler.optimize_level,
            },
        },
        "The X3 configuration",
    )


def normalization(contract: InputContract) -> dict[str, Any]:
    """``norm_type``, ``mean_value`` and ``scale_value`` of a contract, in its colour order.

    Pixels x in 0..255: ``(x * scale - mean) / std = (x - mean / scale) * (scale / std)``.
    """
    mean = [_short(m / contract.scale) for m in contract.mean]
    scale = [_short(contract.scale / s) for s in contract.std]
    moved, scaled = any(m != 0 for m in mean), any(s != 1 for s in scale)
    names = {
        (False, False): "no_preprocess",
        (True, False): "data_mean",
        (False, True): "data_scale",
        (True, True): "data_mean_and_scale",
    }
    result: dict[str, Any] = {"norm_type": names[moved, scaled]}
    if moved:
        result["mean_value"] = " ".join(map(repr, mean))
    if scaled:
        result["scale_value"] = " ".join(map(repr, scale))
    return result


def _short(value: float) -> float:
    """Without the noise of binary fractions (123.67499999999998), far below float32."""
    return float("%.12g" % value)


def parse(content: Any, where: str) -> Sections:
    """Validate the sections of a configuration; ``where`` is named in errors.

    Raises:
        ReidEdgeError: An unknown or missing key, a value that is not allowed, or keys that
            contradict each other.
    """
    try:
        config = Sections.model_validate(content)
    except PydanticError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        what = {
            "extra_forbidden": "is not a key of hb_mapper for the X3; remove it",
            "missing": "is missing; add it",
        }.get(first["type"], "is %r: %s" % (first.get("input"), first["msg"]))
        more = " (and %d more)" % (error.error_count() - 1) if error.error_count() > 1 else ""
        raise ReidEdgeError("%s: %s %s%s." % (where, field, what, more)) from None
    problems = contradictions(config)
    if problems:
        more = " (and %d more)" % (len(problems) - 1) if len(problems) > 1 else ""
        raise ReidEdgeError("%s: %s%s." % (where, problems[0], more))
    return config


def to_dict(config: Sections) -> dict[str, Any]:
    """The sections as the file has them, without keys that were not given."""
    return config.model_dump(mode="json", exclude_none=True, exclude_unset=True)


def write_yaml(config: Sections, path: str | Path) -> None:
    """Write the file for ``hb_mapper makertbin --config``."""
    text = yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True, width=_SINGLE_LINE)
    head = "# Made by reid-export for hb_mapper makertbin.\n"
    Path(path).write_text(head + text, encoding="utf-8")


def read_yaml(path: str | Path) -> Sections:
    """Read and validate a file, whoever wrote it.

    Raises:
        ReidEdgeError: No such file, not YAML, or as ``parse``.
    """
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), _UniqueKeys)
    except OSError as error:
        raise ReidEdgeError("Cannot read %s: %s." % (path, error.strerror or error)) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ReidEdgeError("%s is not valid YAML (%s); correct it." % (path, reason)) from None
    if not isinstance(content, dict):
        raise ReidEdgeError(
            "%s must be a YAML mapping of sections, got %s." % (path, type(content).__name__)
        )
    return parse(content, str(path))


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that is there twice, of which YAML readers keep the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, "key %r is there twice" % key.value, key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)
