"""The one exception a user is meant to read."""


class ReidEdgeError(Exception):
    """A mistake the user can mend: its message says what was expected, what was got, how to fix it.

    Commands print the message without a traceback and exit with ``exit_code``.
    """

    exit_code = 2


class VerificationError(ReidEdgeError):
    """A result was produced but failed its check (parity, self-test, hash), so it is not kept."""

    exit_code = 3
