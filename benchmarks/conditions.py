"""Conditions on a run's figures, for ``--fail-if``: a small language, read here and never evaluated
as Python.

    condition  := and_part ("or" and_part)*
    and_part   := comparison ("and" comparison)*
    comparison := "(" condition ")" | value ("<" | "<=" | ">" | ">=" | "==" | "!=") value
    value      := number | path

A path is a figure of benchmarks.metric_paths, such as ``int8.mAP_drop``. Where two runs are compared, a
path means the second run; ``before.``, ``change.`` (second minus first) and ``ratio.`` (second over
first) in front of it mean the others. A condition holds if it holds in any scope (a bundle on a data
set) that has all its figures.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import Callable, Dict, List, Mapping, Optional, Tuple, Union

from benchmarks.metric_paths import Scope
from runtime.errors import ReidEdgeError

_TOKEN = re.compile(
    r"\s*(?:(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?![\w.])"
    r"|(?P<path>[A-Za-z_][\w@-]*(?:\.[\w@-]+)*)|(?P<sign><=|>=|==|!=|<|>|\(|\)))"
)
_COMPARE: Dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
_LISTED = 40
_DEPTH = 50

Figures = Mapping[str, float]
_Test = Callable[[Figures], bool]


@dataclass(frozen=True)
class Condition:
    """A condition that was read.

    Attributes:
        text: As it was given.
        paths: The figures it speaks of.
    """

    text: str
    paths: Tuple[str, ...]
    _test: _Test

    def holds_in(self, scopes: Mapping[Scope, Figures]) -> List[Scope]:
        """The scopes in which it holds.

        Raises:
            ReidEdgeError: No scope has all of its figures; the message lists what there is.
        """
        able = {
            scope: figures
            for scope, figures in scopes.items()
            if all(path in figures for path in self.paths)
        }
        if not able:
            known = sorted({path for figures in scopes.values() for path in figures})
            lacking = [path for path in self.paths if path not in known]
            # Paths with a batch only repeat the others.
            short = [path for path in known if not re.search(r"\.b\d+(t\d*)?\.", path)]
            raise ReidEdgeError(
                "--fail-if %r speaks of %s, which %s; there are: %s%s."
                % (
                    self.text,
                    ", ".join(lacking or self.paths),
                    "was not measured" if lacking else "no bundle has together",
                    ", ".join(short[:_LISTED]) or "no figures",
                    ", ..." if len(short) > _LISTED else "",
                )
            )
        return [scope for scope, figures in able.items() if self._test(figures)]


def read_condition(text: str) -> Condition:
    """Read a condition.

    Raises:
        ReidEdgeError: It is not one; the message says where.
    """
    return _Reader(text).read()


def compared(
    before: Mapping[Scope, Figures], after: Mapping[Scope, Figures]
) -> Dict[Scope, Dict[str, float]]:
    """The figures of two runs as conditions name them, in the scopes both have."""
    found: Dict[Scope, Dict[str, float]] = {}
    for scope, figures in after.items():
        known = before.get(scope)
        if known is None:
            continue
        own = dict(figures)
        for path, value in known.items():
            own["before." + path] = value
            if path in figures:
                own["change." + path] = figures[path] - value
                if value:
                    own["ratio." + path] = figures[path] / value
        found[scope] = own
    return found


class _Reader:
    """Recursive descent over the tokens of one condition."""

    def __init__(self, text: str):
        self._text = text
        self._tokens: List[Tuple[str, str, int]] = []
        self._paths: List[str] = []
        self._depth = 0
        self._next = 0
        at = 0
        while text[at:].strip():
            match = _TOKEN.match(text, at)
            if match is None:
                raise self._wrong(at)
            kind = str(match.lastgroup)
            self._tokens.append((kind, match.group(kind), match.start(kind)))
            at = match.end()

    def read(self) -> Condition:
        test = self._any()
        if self._next < len(self._tokens):
            raise self._wrong(self._tokens[self._next][2])
        return Condition(self._text, tuple(dict.fromkeys(self._paths)), test)

    def _any(self) -> _Test:
        parts = [self._all()]
        while self._take("or"):
            parts.append(self._all())
        return lambda figures: any(part(figures) for part in parts)

    def _all(self) -> _Test:
        parts = [self._comparison()]
        while self._take("and"):
            parts.append(self._comparison())
        return lambda figures: all(part(figures) for part in parts)

    def _comparison(self) -> _Test:
        if self._take("("):
            self._depth += 1
            if self._depth > _DEPTH:
                raise self._wrong(self._tokens[self._next - 1][2])
            inner = self._any()
            if not self._take(")"):
                raise self._wrong(self._here())
            self._depth -= 1
            return inner
        left = self._value()
        sign = next((sign for sign in _COMPARE if self._take(sign)), None)
        if sign is None:
            raise self._wrong(self._here())
        right, compare = self._value(), _COMPARE[sign]

        def value(of: Union[float, str], figures: Figures) -> float:
            return figures[of] if isinstance(of, str) else of

        return lambda figures: compare(value(left, figures), value(right, figures))

    def _value(self) -> Union[float, str]:
        token: Optional[Tuple[str, str, int]] = None
        if self._next < len(self._tokens):
            token = self._tokens[self._next]
        if token is None or token[0] == "sign" or token[1] in ("and", "or"):
            raise self._wrong(self._here())
        self._next += 1
        if token[0] == "number":
            return float(token[1])
        self._paths.append(token[1])
        return token[1]

    def _take(self, text: str) -> bool:
        found = self._next < len(self._tokens) and self._tokens[self._next][1] == text
        self._next += found
        return found

    def _here(self) -> int:
        return self._tokens[self._next][2] if self._next < len(self._tokens) else len(self._text)

    def _wrong(self, at: int) -> ReidEdgeError:
        rest = repr(self._text[at : at + 20]) if self._text[at:].strip() else "its end"
        return ReidEdgeError(
            "--fail-if %r cannot be read at %s; expected comparisons such as "
            "'int8.mAP_drop > 0.5 and int8.network_p50_ms > 20'." % (self._text, rest)
        )
