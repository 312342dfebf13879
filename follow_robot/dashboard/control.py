"""Which of several pages may drive, and the deliberate second step of a re-arm: pure."""

from typing import Dict, NamedTuple, Optional


class _Offer(NamedTuple):
    code: str
    until_s: float


class Control:
    """One page at a time is in control: the first that acts, until it leaves or another takes over.

    STOP needs no control and is not asked about here, except that it voids every offered re-arm.

    Attributes:
        controller: Name of the page in control, or None.
    """

    def __init__(self, confirm_s: float = 10.0):
        """Start with nobody in control.

        Args:
            confirm_s: Seconds within which an offered re-arm must be confirmed.
        """
        self.controller: Optional[str] = None
        self._confirm_s = confirm_s
        self._offers: Dict[str, _Offer] = {}

    def claim(self, page: str) -> bool:
        """Whether ``page`` may act; takes control when nobody has it."""
        if self.controller is None:
            self.controller = page
        return self.controller == page

    def take(self, page: str) -> None:
        """Control goes to ``page``, whoever had it."""
        if self.controller != page:
            self._offers.clear()
        self.controller = page

    def leave(self, page: str) -> None:
        """``page`` is gone: nobody is in control, if it was."""
        self._offers.pop(page, None)
        if self.controller == page:
            self.controller = None

    def offer(self, page: str, code: str, now_s: float) -> None:
        """Remember the code with which ``page`` has to confirm its re-arm; replaces an older one."""
        self._offers[page] = _Offer(code, now_s + self._confirm_s)

    def confirm(self, page: str, code: str, now_s: float) -> bool:
        """Whether ``code`` was offered to ``page`` not too long ago; works once."""
        offer = self._offers.pop(page, None)
        return offer is not None and offer.code == code and now_s <= offer.until_s

    def withdraw(self) -> None:
        """STOP was pressed: no offer from before it may re-arm the car."""
        self._offers.clear()
