"""What programs that somebody waits for take in the place of Python's dataclasses, typing,
functools, contextlib and enum, which are 19 ms of CPU time to load; these are 0.8 (Python 3.11).

For a type checker the names are the standard library's own. At run time they do the same, for what
this house does with them. A class of 17 fields is made in 0.02 ms (0.7 by dataclasses), a value of
it in 0.9 us (1.2), in the same memory; a tuple with names as fast as Python's. A class that is made
here is one for the standard library too: `dataclasses.replace`, `fields` and `asdict` take it, and
a class of one kind may inherit from one of the other. What is seldom used is in `light_seldom.py`.
"""

from __future__ import annotations

from _operator import attrgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping
    from contextlib import ExitStack, closing, contextmanager, suppress
    from dataclasses import asdict, dataclass, field, replace
    from enum import Enum
    from functools import cached_property
    from types import TracebackType
    from typing import Any, NamedTuple, Protocol, cast

# fmt: off
__all__ = [
    "TYPE_CHECKING", "Enum", "ExitStack", "NamedTuple", "Protocol", "asdict", "cached_property",
    "cast", "closing", "contextmanager", "dataclass", "field", "replace", "suppress",
]
# fmt: on


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from storpool_ovirt import light_seldom

    return getattr(light_seldom, name)


# Functions whose parameters are known at run time only: one of these, with other names put in, so
# that Python itself looks at the arguments, in its own speed and with its own errors.


def _to(_target: Any, _values: tuple[Any, ...]) -> Any:
    """Stand for what one of them hands its arguments to."""


_Function: Any = type(_to)


# fmt: off
_TAKING: tuple[Any, ...] = (
    lambda s: _to(s, ()),
    lambda s, a: _to(s, (a,)),
    lambda s, a, b: _to(s, (a, b)),
    lambda s, a, b, c: _to(s, (a, b, c)),
    lambda s, a, b, c, d: _to(s, (a, b, c, d)),
    lambda s, a, b, c, d, e: _to(s, (a, b, c, d, e)),
    lambda s, a, b, c, d, e, f: _to(s, (a, b, c, d, e, f)),
    lambda s, a, b, c, d, e, f, g: _to(s, (a, b, c, d, e, f, g)),
    lambda s, a, b, c, d, e, f, g, h: _to(s, (a, b, c, d, e, f, g, h)),
    lambda s, a, b, c, d, e, f, g, h, i: _to(s, (a, b, c, d, e, f, g, h, i)),
    lambda s, a, b, c, d, e, f, g, h, i, j: _to(s, (a, b, c, d, e, f, g, h, i, j)),
    lambda s, a, b, c, d, e, f, g, h, i, j, k: _to(s, (a, b, c, d, e, f, g, h, i, j, k)),
    lambda s, a, b, c, d, e, f, g, h, i, j, k, m: _to(s, (a, b, c, d, e, f, g, h, i, j, k, m)),
    lambda s, a, b, c, d, e, f, g, h, i, j, k, m, n:
        _to(s, (a, b, c, d, e, f, g, h, i, j, k, m, n)),
    lambda s, a, b, c, d, e, f, g, h, i, j, k, m, n, o:
        _to(s, (a, b, c, d, e, f, g, h, i, j, k, m, n, o)),
    lambda s, a, b, c, d, e, f, g, h, i, j, k, m, n, o, p:
        _to(s, (a, b, c, d, e, f, g, h, i, j, k, m, n, o, p)),
    lambda s, a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q:
        _to(s, (a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q)),
    lambda s, a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q, r:
        _to(s, (a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q, r)),
    lambda s, a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q, r, t:
        _to(s, (a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q, r, t)),
    lambda s, a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q, r, t, u:
        _to(s, (a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q, r, t, u)),
    lambda s, a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q, r, t, u, v:
        _to(s, (a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q, r, t, u, v)),
    lambda s, a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q, r, t, u, v, w:
        _to(s, (a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q, r, t, u, v, w)),
    lambda s, a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q, r, t, u, v, w, x:
        _to(s, (a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q, r, t, u, v, w, x)),
    lambda s, a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q, r, t, u, v, w, x, y:
        _to(s, (a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q, r, t, u, v, w, x, y)),
    lambda s, a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q, r, t, u, v, w, x, y, z:
        _to(s, (a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q, r, t, u, v, w, x, y, z)),
)
# fmt: on


def _taking(
    first: str, fields: Mapping[str, _Field], to: Callable[..., Any], name: str, owner: str
) -> Any:
    """Return a function that takes these fields and hands them to another one, as a tuple.

    Raises TypeError for a field without a default behind one that has one.
    """
    defaults: list[Any] = []
    for key, each in fields.items():
        if each.has_default:
            defaults.append(each if each.make else each.said["default"])
        elif defaults:
            raise TypeError(f"{owner}: {key} has no default, and stands behind one that has")
    code = _TAKING[len(fields)].__code__
    code = code.replace(co_varnames=(first, *fields), co_name=name)
    made = _Function(code, {"_to": to}, name, tuple(defaults))
    made.__qualname__ = f"{owner}.{name}"
    return made


# Values with fields.

_set = object.__setattr__


class _Field:
    """What is said of a field; it also stands for an argument that was not given."""

    def __init__(self, **said: Any) -> None:
        if not said.keys() <= {"default", "default_factory", "repr"}:
            raise TypeError(f"a field has only a default, a default_factory and repr, not {said}")
        self.said, self.make = said, said.get("default_factory")
        self.has_default = "default" in said or self.make is not None


def _field_of(space: Mapping[str, Any], name: str) -> _Field:
    if name not in space:
        return _Field()
    return space[name] if isinstance(space[name], _Field) else _Field(default=space[name])


def _dataclass(cls: Any = None, *, frozen: bool = False) -> Any:
    """Make a class one of values with fields: as `dataclasses.dataclass`."""
    return _value_class(cls, frozen) if cls else lambda each: _value_class(each, frozen)


def _value_class(cls: Any, is_frozen: bool) -> Any:
    fields = _fields(cls)
    names = tuple(fields)

    def fill(self: Any, values: tuple[Any, ...]) -> None:
        any(map(_set.__get__(self), names, values))  # each returns None

    init = _taking("self", fields, fill, "__init__", cls.__qualname__)
    makers = tuple((name, each) for name, each in fields.items() if each.make)
    if makers or hasattr(cls, "__post_init__"):
        init = _finished(init, makers)
    shown = tuple(name for name, each in fields.items() if each.said.get("repr", True))
    own = {"__init__": init, "__repr__": _repr(shown), **_compared(names, is_frozen)}
    if is_frozen:
        own.update(_unchangeable(cls, names))
    for name, each in own.items():
        if cls.__dict__.get(name) is None:
            setattr(cls, name, each)
    for name in ("__dataclass_fields__", "__dataclass_params__"):
        setattr(cls, name, _Standard(cls, is_frozen, name))
    cls.__match_args__, cls.__replace__, cls._light_fields = names, _replace, fields  # type: ignore[misc]
    return cls


def _fields(cls: Any) -> dict[str, _Field]:
    """Return the fields of a class, those that it inherits first, and leave their defaults in it as
    attributes."""
    fields: dict[str, _Field] = {}
    for base in reversed(cls.__mro__[1:]):
        if "_light_fields" in base.__dict__:
            fields.update(base._light_fields)
        elif "__dataclass_fields__" in base.__dict__:
            from storpool_ovirt import light_seldom

            fields.update((name, _Field(**said)) for name, said in light_seldom.said(base))
    own = vars(cls)
    for name, kind in own.get("__annotations__", {}).items():
        if str(kind).startswith(("ClassVar", "typing.ClassVar")):
            continue
        given = fields[name] = _field_of(own, name)
        if "default" in given.said:
            setattr(cls, name, given.said["default"])
        elif name in own:
            delattr(cls, name)
    return fields


def _finished(plain: Any, makers: tuple[tuple[str, _Field], ...]) -> Any:
    def __init__(self: Any, *args: Any, **named: Any) -> None:  # noqa: N807
        plain(self, *args, **named)
        for name, each in makers:
            if getattr(self, name) is each and each.make:
                _set(self, name, each.make())
        if hasattr(self, "__post_init__"):
            self.__post_init__()

    __init__.__wrapped__ = plain  # type: ignore[attr-defined]
    return __init__


def _repr(shown: tuple[str, ...]) -> Any:
    def __repr__(self: Any) -> str:  # noqa: N807
        told = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{self.__class__.__qualname__}({told})"

    return __repr__


def _compared(names: tuple[str, ...], is_frozen: bool) -> dict[str, Any]:
    if len(names) > 1:
        values: Callable[[Any], Any] = attrgetter(*names)
    else:

        def values(value: Any) -> Any:
            return tuple(getattr(value, name) for name in names)

    def __eq__(self: Any, other: Any) -> Any:  # noqa: N807
        if other.__class__ is not self.__class__:
            return NotImplemented
        return values(self) == values(other)

    def __hash__(self: Any) -> int:  # noqa: N807
        return hash(values(self))

    return {"__eq__": __eq__, "__hash__": __hash__ if is_frozen else None}


def _unchangeable(cls: Any, names: tuple[str, ...]) -> dict[str, Any]:
    def check(self: Any, what: str, name: str) -> None:
        if type(self) is cls or name in names:
            from dataclasses import FrozenInstanceError

            raise FrozenInstanceError(f"cannot {what} field {name!r}")

    def __setattr__(self: Any, name: str, value: Any) -> None:  # noqa: N807
        check(self, "assign to", name)
        super(cls, self).__setattr__(name, value)

    def __delattr__(self: Any, name: str) -> None:  # noqa: N807
        check(self, "delete", name)
        super(cls, self).__delattr__(name)

    return {"__setattr__": __setattr__, "__delattr__": __delattr__}


class _Standard:
    """What the standard library keeps of a class of its own, made when it asks for it."""

    def __init__(self, owner: Any, is_frozen: bool, name: str) -> None:
        self._owner, self._is_frozen, self._name = owner, is_frozen, name

    def __get__(self, _value: object, _cls: type) -> Any:
        from storpool_ovirt import light_seldom

        fields = {name: each.said for name, each in self._owner._light_fields.items()}
        found = getattr(light_seldom.twin(self._owner, fields, self._is_frozen), self._name)
        setattr(self._owner, self._name, found)
        return found


def _replace(self: Any, /, **changes: Any) -> Any:
    """Return a value like this one with some fields changed: as `dataclasses.replace`."""
    fields = self.__class__.__dict__.get("_light_fields")
    if fields is None:
        import dataclasses

        return dataclasses.replace(self, **changes)
    return self.__class__(**{**{name: getattr(self, name) for name in fields}, **changes})


# Tuples with names.


def _tuple_make(cls: Any, values: Iterable[Any]) -> Any:
    made = tuple.__new__(cls, values)
    if len(made) != len(cls._fields):
        raise TypeError(f"Expected {len(cls._fields)} arguments, got {len(made)}")
    return made


def _tuple_replace(self: Any, /, **changes: Any) -> Any:
    made = self._make(map(changes.pop, self._fields, self))
    if changes:
        raise ValueError(f"Got unexpected field names: {list(changes)!r}")
    return made


def _tuple_repr(self: Any) -> str:
    told = ", ".join(f"{name}={value!r}" for name, value in zip(self._fields, self))
    return f"{self.__class__.__name__}({told})"


_OF_TUPLES: dict[str, Any] = {
    "_make": classmethod(_tuple_make),
    "_replace": _tuple_replace,
    "__replace__": _tuple_replace,
    "_asdict": lambda self: dict(zip(self._fields, self)),
    "__repr__": _tuple_repr,
    "__getnewargs__": lambda self: tuple(self),  # noqa: PLW0108  a class is no method
}


class _NamedTupleType(type):
    def __new__(cls, name: str, bases: tuple[type, ...], space: dict[str, Any]) -> Any:
        if not bases:
            return super().__new__(cls, name, bases, space)
        # As collections has it, where its own tuples with names get their fields from.
        from _collections import _tuplegetter  # type: ignore[import-not-found]

        names = tuple(space.get("__annotations__", ()))
        known = {each: space[each] for each in names if each in space}
        fields = {
            each: _Field(default=known[each]) if each in known else _Field() for each in names
        }
        space = {
            **_OF_TUPLES,
            **space,
            **{each: _tuplegetter(place, None) for place, each in enumerate(names)},
            "__new__": _taking("_cls", fields, tuple.__new__, "__new__", name),
            "__slots__": (),
            "__match_args__": names,
            "_fields": names,
            "_field_defaults": known,
        }
        return type.__new__(type, name, (tuple,), space)


class _NamedTuple(metaclass=_NamedTupleType):
    """A class that is made from this one is one of tuples with names: as `typing.NamedTuple`."""


# Blocks that undo.


class _Managed:
    __slots__ = ("_steps",)

    def __init__(self, steps: Generator[Any, Any, Any]) -> None:
        self._steps = steps

    def __enter__(self) -> Any:
        try:
            return next(self._steps)
        except StopIteration:
            raise RuntimeError("generator didn't yield") from None

    def __exit__(
        self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None
    ) -> bool:
        try:
            if kind is None:
                next(self._steps)
            else:
                error = kind() if error is None else error
                self._steps.throw(error)
        except StopIteration as end:
            return end is not error
        except BaseException as raised:
            # What was thrown in comes out again; a StopIteration does so as a RuntimeError's cause.
            is_its_cause = isinstance(error, StopIteration) and raised.__cause__ is error
            if raised is not error and not (is_its_cause and isinstance(raised, RuntimeError)):
                raise
            error.__traceback__ = trace
            return False
        try:
            after = "" if kind is None else " after throw()"
            raise RuntimeError(f"generator didn't stop{after}")
        finally:
            self._steps.close()


def _contextmanager(function: Callable[..., Any]) -> Any:
    """As `contextlib.contextmanager`; what is made by it is no decorator."""

    def made(*args: Any, **named: Any) -> _Managed:
        return _Managed(function(*args, **named))

    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(made, name, getattr(function, name))
    made.__wrapped__ = function  # type: ignore[attr-defined]
    return made


class _Suppress:
    __slots__ = ("_kinds",)

    def __init__(self, *kinds: type[BaseException]) -> None:
        self._kinds = kinds

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is not None and issubclass(kind, self._kinds)


if not TYPE_CHECKING:
    dataclass, field, replace = _dataclass, _Field, _replace
    NamedTuple, Protocol = _NamedTuple, object
    contextmanager, suppress = _contextmanager, _Suppress
