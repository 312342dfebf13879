"""``python benchmarks/run.py``: reid-bench from a checkout, without installing it."""

import sys
from pathlib import Path
from typing import List, Optional


def main(argv: Optional[List[str]] = None) -> int:
    """Run ``reid-bench``; returns its exit status."""
    from benchmarks.cli import main as run  # behind the paths below

    return run(argv)


if __name__ == "__main__":
    # Python put this folder in front, whose modules (metrics, latency, ...) are not for the top level.
    here = Path(__file__).resolve().parent
    sys.path = [path for path in sys.path if Path(path or ".").resolve() != here]
    sys.path.insert(0, str(here.parent))
    sys.exit(main())
