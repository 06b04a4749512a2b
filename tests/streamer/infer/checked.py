"""Doubles of a real API: whatever is asked of one is held against the real class first.

pybind11 writes the signature of each function into its docstring. A method, property, keyword or
argument type that is not there fails the test, as it would fail on the real thing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

_OVERLOAD = re.compile(r"^\s*(?:\d+\. )?(\w*)\((.*)\) -> (.+)$")


class NotInTheApiError(AssertionError):
    """The real API has nothing of this kind."""


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    type: str
    is_optional: bool


@dataclass(frozen=True, slots=True)
class Signature:
    parameters: tuple[Parameter, ...]
    gives: str

    def bound(self, api: ModuleType, given: tuple[Any, ...], named: Mapping[str, Any]) -> bool:
        """Whether a call with these arguments is one of this signature."""
        if len(given) > len(self.parameters):
            return False
        values = {p.name: value for p, value in zip(self.parameters, given, strict=False)}
        known = {parameter.name: parameter for parameter in self.parameters}
        if set(named) & set(values) or set(named) - set(known):
            return False
        values |= named
        return all(
            _is_a(api, values[p.name], p.type) if p.name in values else p.is_optional
            for p in self.parameters
        )


def signatures(docstring: str | None) -> list[Signature]:
    """All overloads that a docstring of pybind11 lists, without ``self``."""
    found = []
    for line in (docstring or "").splitlines():
        match = _OVERLOAD.match(line)
        if match and "*args" not in match[2]:
            parameters = [_parameter(part) for part in _split(match[2])]
            found.append(Signature(tuple(parameters[1:]), match[3].strip()))
    return found


class Checked:
    """Stands for an object of a real class; ``Like`` says what it does, the class what there is.

    ``Like`` has the real class's name as ``stands_for``.
    """

    def __init__(self, api: ModuleType, like: Any) -> None:
        object.__setattr__(self, "_api", api)
        object.__setattr__(self, "_like", like)
        object.__setattr__(self, "_real", getattr(api, like.stands_for))

    def __getattr__(self, name: str) -> Any:
        member = self._member(name)
        if isinstance(member, property):
            return wrapped(self._api, getattr(self._like, name))

        def call(*given: Any, **named: Any) -> Any:
            known = signatures(member.__doc__)
            assert known, f"{self._real.__name__}.{name} says nothing about its arguments"
            fitting = [s for s in known if s.bound(self._api, given, named)]
            if not fitting:
                raise NotInTheApiError(f"{name}({given}, {named}) is none of {known}")
            result = wrapped(self._api, getattr(self._like, name)(*given, **named))
            if isinstance(result, Checked):
                # The parser's errors were named before their class was known.
                wanted = fitting[0].gives.rpartition(".")[2].replace("nvonnxparser::I", "")
                assert result._real.__name__ == wanted, fitting[0].gives
            return result

        return call

    def __setattr__(self, name: str, value: Any) -> None:
        member = self._member(name)
        if not isinstance(member, property) or member.fset is None:
            raise NotInTheApiError(f"{self._real.__name__}.{name} cannot be set")
        ((signature),) = signatures(member.fset.__doc__)
        if not signature.bound(self._api, (value,), {}):
            raise NotInTheApiError(f"{self._real.__name__}.{name} does not take {value!r}")
        setattr(self._like, name, value)

    def _member(self, name: str) -> Any:
        member = getattr(self._real, name, None)
        if member is None or name.startswith("_"):
            raise NotInTheApiError(f"{self._real.__name__} has no {name}")
        return member


def construct(api: ModuleType, like: type, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """What a call of the real class gives, checked as its constructor is."""
    real = getattr(api, like.stands_for)  # type: ignore[attr-defined]
    known = signatures(real.__init__.__doc__)
    if not any(signature.bound(api, given, named) for signature in known):
        raise NotInTheApiError(f"{real.__name__}({given}, {named}) is none of {known}")
    return Checked(api, like(*given, **named))


def wrapped(api: ModuleType, value: Any) -> Any:
    return Checked(api, value) if hasattr(value, "stands_for") else value


def unwrapped(value: Any) -> Any:
    return value._like if isinstance(value, Checked) else value


def _is_a(api: ModuleType, value: Any, type_name: str) -> bool:
    last = type_name.rpartition(".")[2]
    if last in ("SupportsInt", "int"):
        return isinstance(value, int) and not isinstance(value, bool)
    if last in ("Buffer", "buffer"):
        return isinstance(value, (bytes, bytearray, memoryview))
    plain = {"str": str, "bool": bool, "float": float, "tuple": tuple, "list": list}.get(last)
    if plain is not None:
        return isinstance(value, plain)
    if isinstance(value, Checked):
        return bool(value._real.__name__ == last)
    real: Any = api
    for part in type_name.partition(api.__name__)[2].strip(".").split("."):
        real = getattr(real, part, None) or getattr(api, last)
    if last == "Dims":
        # Its own constructor says what can be made into one.
        real(value)
        return True
    return isinstance(value, real)


def _parameter(text: str) -> Parameter:
    name, _, rest = text.partition(":")
    type_name, _, default = rest.partition(" = ")
    return Parameter(name.strip(), type_name.strip(), is_optional=bool(default))


def _split(text: str) -> list[str]:
    """At commas that are not within brackets or angles."""
    parts, depth, begun = [], 0, 0
    for place, letter in enumerate(text):
        depth += (letter in "[<(") - (letter in "]>)")
        if letter == "," and depth == 0:
            parts.append(text[begun:place])
            begun = place + 1
    return [*parts, text[begun:]]
