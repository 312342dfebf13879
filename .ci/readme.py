"""Print a command of README.md, so that continuous integration runs what users are told to run.

    python .ci/readme.py NAME [README]

A command is the one line of the fenced block behind ``<!-- command: NAME -->``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"
COMMAND = re.compile(r"<!-- command: (\w+) -->\n+```bash\n([^\n]+)\n```\n")


def commands(text: str) -> dict[str, str]:
    """Name -> command line, in the order of the text.

    Raises:
        ValueError: A marker without a block of exactly one line, or a name given twice.
    """
    found = COMMAND.findall(text)
    names = [name for name, _ in found]
    if text.count("<!-- command:") != len(found) or len(set(names)) != len(names):
        raise ValueError(
            "each '<!-- command: NAME -->' needs its own name and a ```bash block of one line"
        )
    return dict(found)


def main(argv: list[str]) -> int:
    known = commands(Path(argv[2] if len(argv) > 2 else README).read_text(encoding="utf-8"))
    if len(argv) < 2 or argv[1] not in known:
        print(f"readme.py: NAME must be one of {', '.join(known)}", file=sys.stderr)
        return 2
    print(known[argv[1]])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
