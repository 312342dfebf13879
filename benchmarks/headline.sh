#!/usr/bin/env bash
# README's headline table, from nothing: exports the default network and OSNet x0.25 to all three
# targets and measures them in one run. What is already there in OUT is not made again.
set -euo pipefail

if [[ $# != 3 ]]; then
  echo "usage: benchmarks/headline.sh MARKET1501 OSNET_WEIGHTS OUT" >&2
  exit 2
fi
market=$1 weights=$2 out=$3
mkdir -p "$out"
bundles=()
for target in cpu xavier x3; do
  for network in default osnet; do
    bundle=$out/${network}_$target
    options=()
    [[ $network == default ]] || options=(--weights "$weights" --calib "$market/bounding_box_train")
    [[ -d $bundle ]] || reid-export --target "$target" --out "$bundle" "${options[@]}"
    bundles+=("$bundle")
  done
done
reid-bench --bundle "${bundles[@]}" --data "$market" --batch 1,8 --threads 1 --repeats 60 \
  --alternatives --calib "$market/bounding_box_train" --cache "$out/cache" --out "$out/results"
