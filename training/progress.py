"""How long something takes, shown while it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Progress = Callable[[str, int], Any]
"""``progress(label, total)`` returns a bar with ``update(n)``, ``set_postfix_str(text)`` and
``close()``, as tqdm's."""


class SilentBar:
    """A bar that shows nothing."""

    def update(self, n: int) -> None: ...

    def set_postfix_str(self, text: str) -> None: ...

    def close(self) -> None: ...


def silent(label: str, total: int) -> SilentBar:
    """A ``Progress`` that shows nothing."""
    return SilentBar()
