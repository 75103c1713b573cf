"""What of `light.py` few programs use, or none on its usual way."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

# For the standard library: what it keeps of its own classes.


def twin(owner: Any, fields: Mapping[str, dict[str, Any]], is_frozen: bool) -> Any:
    """Return a class of the standard library with the fields of one of `light.py`'s."""
    import dataclasses

    kinds: dict[str, Any] = {}
    for base in reversed(owner.__mro__):
        kinds.update(vars(base).get("__annotations__", {}))
    space: dict[str, Any] = {name: dataclasses.field(**said) for name, said in fields.items()}
    space["__annotations__"] = {name: kinds[name] for name in fields}
    space["__module__"] = owner.__module__
    return dataclasses.dataclass(frozen=is_frozen)(type(owner.__name__, (), space))


def said(base: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the fields of a class of the standard library, in the words of `dataclasses.field`."""
    import dataclasses

    for each in dataclasses.fields(base):
        facts = {
            "repr": each.repr,
            "default": each.default,
            "default_factory": each.default_factory,
        }
        yield each.name, {key: it for key, it in facts.items() if it is not dataclasses.MISSING}


def asdict(value: Any) -> dict[str, Any]:
    """Return the fields of a value by name: as `dataclasses.asdict`."""
    fields = vars(value.__class__).get("_light_fields", ())
    found = {name: getattr(value, name) for name in fields}
    if fields and all(isinstance(each, (str, int, float, type(None))) for each in found.values()):
        return found
    import dataclasses  # what is in it is copied too

    return dataclasses.asdict(value)


# Names of one kind.


class _EnumType(type):
    def __new__(cls, name: str, bases: tuple[type, ...], space: dict[str, Any]) -> Any:
        made: Any = super().__new__(cls, name, bases, space)
        made._members = {}
        for key, value in space.items() if bases else ():
            if key[0] != "_" and not hasattr(value, "__get__"):
                member = object.__new__(made)
                member.name, member.value = key, value
                made._members[key] = member
                setattr(made, key, member)
        return made

    def __iter__(cls: Any) -> Iterator[Any]:
        return iter(cls._members.values())

    def __len__(cls: Any) -> int:
        return len(cls._members)

    def __getitem__(cls: Any, name: str) -> Any:
        return cls._members[name]

    def __call__(cls: Any, value: Any) -> Any:
        for member in cls:
            if member.value == value:
                return member
        raise ValueError(f"{value!r} is not a valid {cls.__qualname__}")


class Enum(metaclass=_EnumType):
    """As `enum.Enum`: each member is one object, also when it is copied or pickled."""

    name: str
    value: Any

    def __repr__(self) -> str:
        return f"<{self}: {self.value!r}>"

    def __str__(self) -> str:
        return f"{self.__class__.__name__}.{self.name}"

    def __reduce_ex__(self, _protocol: Any) -> Any:
        return self.__class__, (self.value,)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, _memo: Any) -> Any:
        return self


# Blocks that undo.


class closing:  # noqa: N801  the name is the standard library's
    """As `contextlib.closing`."""

    def __init__(self, thing: Any) -> None:
        self._thing = thing

    def __enter__(self) -> Any:
        return self._thing

    def __exit__(self, *_: object) -> None:
        self._thing.close()


class ExitStack:
    """As `contextlib.ExitStack`, with what is used of it here."""

    def __init__(self) -> None:
        self._leaves: list[Callable[..., Any]] = []

    def enter_context(self, manager: Any) -> Any:
        """Enter a block that is left with this one."""
        kind = type(manager)
        leave = kind.__exit__
        entered = kind.__enter__(manager)
        self._leaves.append(lambda *facts: leave(manager, *facts))
        return entered

    def callback(self, function: Callable[..., Any], /, *args: Any, **named: Any) -> Any:
        """Have a function called when this block is left."""

        def leave(*_: object) -> None:
            function(*args, **named)

        self._leaves.append(leave)
        return function

    def close(self) -> None:
        """Leave it now."""
        self.__exit__(None, None, None)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *facts: Any) -> bool:
        is_over = False
        while self._leaves:
            leave = self._leaves.pop()
            try:
                if leave(*facts) and facts[1] is not None:
                    facts, is_over = (None, None, None), True
            except BaseException as raised:
                # The blocks around it see what it raised, as they do where blocks stand in blocks.
                if not self.__exit__(type(raised), raised, raised.__traceback__):
                    raise
                return True
        return is_over


class cached_property:  # noqa: N801  the name is the standard library's
    """As `functools.cached_property`."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function, self.__doc__ = function, function.__doc__

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    def __get__(self, value: Any, _owner: type | None = None) -> Any:
        if value is None:
            return self
        found = value.__dict__[self._name] = self._function(value)
        return found


def cast(_kind: Any, value: Any) -> Any:
    """As `typing.cast`."""
    return value
