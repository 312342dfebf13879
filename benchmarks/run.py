"""``python benchmarks/run.py``: reid-bench from a checkout, without installing it."""

import sys
from pathlib import Path

if __name__ == "__main__":
    # Python put this folder in front, whose modules (metrics, latency, ...) are not for the top level.
    here = Path(__file__).resolve().parent
    sys.path = [path for path in sys.path if Path(path or ".").resolve() != here]
    sys.path.insert(0, str(here.parent))

    from benchmarks.cli import main

    sys.exit(main())
