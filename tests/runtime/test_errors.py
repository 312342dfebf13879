"""Exit codes are part of the command-line contract."""

from runtime.errors import ReidEdgeError, VerificationError


def test_exit_codes_tell_a_mistake_from_a_failed_check():
    assert ReidEdgeError.exit_code == 2
    assert VerificationError.exit_code == 3


def test_a_failed_check_is_caught_with_other_user_errors():
    assert issubclass(VerificationError, ReidEdgeError)
    assert str(VerificationError("The plan differs.")) == "The plan differs."
