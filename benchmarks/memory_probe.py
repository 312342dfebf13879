"""``python -m benchmarks.memory_probe WORK``: the peak memory of embedding with one network.

Started by benchmarks.timing, in a process that does nothing else. WORK and what is printed are one
JSON object each.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import List, Optional

import numpy as np

from benchmarks.variants import Variant
from runtime.bundle import Bundle
from runtime.embedder import Embedder

_CALLS = 5


def peak_rss_mb(status: Path = Path("/proc/self/status")) -> Optional[float]:
    """The largest resident memory of this process so far, in MiB; None where nobody tells.

    VmHWM and not getrusage's ru_maxrss, which a child inherits from its parent through fork.
    """
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB", status.read_text(), re.M)
    except OSError:
        return None
    return int(found[1]) / 1024 if found else None


def main(argv: Optional[List[str]] = None) -> int:
    (text,) = sys.argv[1:] if argv is None else argv
    work = json.loads(text)
    variant = Variant(**{**work["variant"], "notes": tuple(work["variant"]["notes"])})
    bundle = Bundle.open(work["bundle"], verify=False)
    with variant.open(bundle, work["threads"]) as backend:
        embedder = Embedder(bundle, backend)
        crops = [np.zeros((*work["crop"], 3), np.uint8)] * work["batch"]
        for _ in range(_CALLS):
            embedder.embed(crops)
    print(json.dumps({"peak_memory_mb": peak_rss_mb()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
