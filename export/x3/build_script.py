"""``build.sh``: from the bundle's ONNX file to the board's ``.bin``, with the vendor's tools."""

from __future__ import annotations

import json
import math
import re
import shlex

from export.x3.config import to_dict
from export.x3.schema import Sections
from runtime.errors import ReidEdgeError

IMAGE = "openexplorer/ai_toolchain_ubuntu_20_x3j5_gpu:v1.0.0"
LOGS = "logs"  # folder beside the script
EXPORTED = "# Exported with: "  # in front of the configuration, as JSON on one line

_SCRIPT = r"""
#!/usr/bin/env bash
# Converts the network in this folder for the Horizon X3: checker, makertbin, perf, verifier.
# Needs hb_mapper on this machine, or docker and the vendor's image (HORIZON_IMAGE: another image).
# BOARD_IP=address  the verifier also compares with the board.
# TEST_IMAGE=file   the image it compares on, below this folder; else the vendor's own.
# What the tools print is kept in @LOGS@/, and the configuration that they read.
# The model counts as made when makertbin made it: where perf or verifier fail, a warning at the end
# says so. The verifier without a board needs the vendor's hrt_tools beside it.
# The configuration may be tuned; reid-export --fold compares it with this line.
@EXPORTED@
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here"
image=${HORIZON_IMAGE:-@IMAGE@}
config=@CONFIG@
model=@MODEL@
calibration=@CALIBRATION@
results=@WORKING_DIR@
prefix=@PREFIX@
logs=@LOGS@
sample_bytes=@BYTES@

fail() {
  printf 'build.sh: %s\n' "$*" >&2
  exit 1
}

check_files() {
  local file size count=0
  for file in "$model" "$config"; do
    [[ -f $file ]] || fail "$here/$file is missing; export the bundle again"
  done
  [[ -z ${TEST_IMAGE:-} || -f $TEST_IMAGE ]] || fail "there is no $TEST_IMAGE (TEST_IMAGE) in $here"
  [[ -n $calibration ]] || return 0
  [[ -d $calibration ]] || fail "the calibration folder $here/$calibration is missing"
  for file in "$calibration"/*; do
    [[ -f $file ]] || continue
    size=$(wc -c <"$file")
    ((sample_bytes == 0 || size == sample_bytes)) ||
      fail "$file has $size bytes, a sample of this network has $sample_bytes"
    count=$((count + 1))
  done
  ((count > 0)) || fail "the calibration folder $here/$calibration is empty"
  printf 'build.sh: %d calibration files\n' "$count"
}

in_container() {
  command -v docker >/dev/null ||
    fail "neither hb_mapper nor docker is on PATH; install docker and load $image (the vendor's \
download), or install the vendor's wheels (hbdk, horizon_nn, horizon_tc_ui) under Python 3.8"
  local said
  said=$(docker image inspect "$image" 2>&1 >/dev/null) ||
    fail "docker cannot give the image $image, it says: ${said//$'\n'/ }; if it is missing, docker load \
the vendor's archive, docker pull it, or set HORIZON_IMAGE"
  printf 'build.sh: in the container %s\n' "$image"
  docker run --rm --volume "$here:/data" --workdir /data \
    --env REID_EDGE_IN_CONTAINER=1 --env "BOARD_IP=${BOARD_IP:-}" \
    --env "TEST_IMAGE=${TEST_IMAGE:-}" "$image" bash /data/build.sh
}

# Files made by the container's root get the owner of this script.
give_back() {
  chown -R --reference="$here/build.sh" "$logs" "$results" hb_perf_result 2>/dev/null || true
}

# attempt NAME COMMAND...: run, show and keep what it prints; its own log file moves along.
attempt() {
  local name=$1 status=0
  shift
  printf '\n=== %s: %s\n' "$name" "$*"
  "$@" 2>&1 | tee "$logs/$name.txt" || status=$?
  if [[ -f hb_mapper_$name.log ]]; then mv "hb_mapper_$name.log" "$logs/"; fi
  return "$status"
}

# step NAME COMMAND...: the same, and it must succeed.
step() {
  local status=0
  attempt "$@" || status=$?
  ((status == 0)) || fail "$1 failed with exit code $status; see $here/$logs/$1.txt"
}

# optional_step NAME COMMAND...: the same for a tool that may be absent or fail, which is said at the
# end.
notes=()
optional_step() {
  local status=0
  if ! command -v "$2" >/dev/null; then
    notes+=("skipped $1 ($2 is not on PATH)")
    return 0
  fi
  attempt "$@" || status=$?
  ((status == 0)) ||
    notes+=("warning: $1 failed with exit code $status; see $here/$logs/$1.txt")
}

check_files
if ! command -v hb_mapper >/dev/null; then
  [[ -z ${REID_EDGE_IN_CONTAINER:-} ]] || fail "the image $image has no hb_mapper"
  in_container
  exit
fi
[[ -z ${REID_EDGE_IN_CONTAINER:-} ]] || trap give_back EXIT
mkdir -p "$logs"
bin=$results/$prefix.bin

# What an earlier run left must not pass for this one's.
rm -f "$bin" hb_mapper_*.log "$logs"/hb_mapper_*.log "$logs/config.yaml"
for name in checker makertbin perf verifier; do rm -f "$logs/$name.txt"; done
if [[ -f $logs/board.txt ]]; then
  mv "$logs/board.txt" "$logs/board_before.txt"
  notes+=("moved $logs/board.txt to $logs/board_before.txt, as it is of an earlier model")
fi
cp "$config" "$logs/config.yaml"

step checker hb_mapper checker --model-type onnx --march @MARCH@ --model "$model" \
  --input-shape @INPUT_NAME@ @INPUT_SHAPE@
step makertbin hb_mapper makertbin --config "$config" --model-type onnx
# The tools spell it both ways.
grep -Eq 'Convert to runtime bin file suc+es+fully!' "$logs"/*makertbin* ||
  fail "makertbin did not say that it converted the model; see $here/$logs/makertbin.txt"
[[ -f $bin ]] || fail "makertbin left no $here/$bin"

optional_step perf hb_perf "$bin"
quantized=$results/${prefix}_quantized_model.onnx
arguments=(-q "$quantized" -b "$bin")
[[ -z ${BOARD_IP:-} ]] || arguments+=(-a "$BOARD_IP")
[[ -z ${TEST_IMAGE:-} ]] || arguments+=(-i "$TEST_IMAGE")
optional_step verifier hb_model_verifier "${arguments[@]}"

printf '\nbuild.sh: made %s\n' "$here/$bin"
for note in ${notes[@]+"${notes[@]}"}; do
  printf 'build.sh: %s\n' "$note"
done
"""


def build_script(config: Sections, config_name: str) -> str:
    """The text of ``build.sh``, to lie beside the configuration it was made from.

    It runs from its own folder, on a host with ``hb_mapper`` or in the vendor's container, stops where
    checker or makertbin fail, says what is missing, and keeps all logs of this run and none of an
    earlier one.

    Args:
        config: The validated configuration; its paths are relative to the script.
        config_name: Name of its file.

    Raises:
        ReidEdgeError: A configuration with several inputs, without an ONNX model, input name or
            shape, or with paths that are not below the script's folder.
    """
    model, inputs = config.model_parameters, config.input_parameters
    calibration = config.calibration_parameters.cal_data_dir
    if model.onnx_model is None or not inputs.input_name or not inputs.input_shape:
        raise ReidEdgeError(
            "build.sh needs a configuration with onnx_model, input_name and input_shape."
        )
    if len(inputs.input_name) != 1:
        raise ReidEdgeError(
            "build.sh is for networks with one input, got %d." % len(inputs.input_name)
        )
    folder = calibration[0] if calibration else ""
    for path in (model.onnx_model, model.working_dir, folder, config_name):
        if path.startswith(("/", "-", "~")) or ".." in path.split("/"):
            raise ReidEdgeError(
                "build.sh mounts its own folder only, so %r must be a path below it." % path
            )
    shape = inputs.input_shape[0]
    types = config.calibration_parameters.cal_data_type
    size = math.prod(shape) * (1 if types == ("uint8",) else 4)
    if config.calibration_parameters.preprocess_on:
        size = 0  # pictures of any size, not checked
    values = {
        "CONFIG": shlex.quote(config_name),
        "MODEL": shlex.quote(model.onnx_model),
        "CALIBRATION": shlex.quote(folder),
        "WORKING_DIR": shlex.quote(model.working_dir),
        "PREFIX": shlex.quote(model.output_model_file_prefix),
        "LOGS": LOGS,
        "EXPORTED": EXPORTED + json.dumps(to_dict(config)),
        "IMAGE": IMAGE,
        "MARCH": model.march,
        "INPUT_NAME": shlex.quote(inputs.input_name[0]),
        "INPUT_SHAPE": "x".join(map(str, shape)),
        "BYTES": str(size),
    }
    return re.sub(r"@([A-Z_]+)@", lambda m: values[m.group(1)], _SCRIPT.lstrip("\n"))
