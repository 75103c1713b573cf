"""PostgreSQL's driver: psycopg2's extension module, without the rest of its package.

The package's own start loads what no statement of ours passes or asks for (decimal, ranges,
addresses, patterns): two thirds of what psycopg2 costs a verb. So the extension module is loaded
below a package that has not started, and that starts as soon as anybody asks it for something:
there is one psycopg2 in a process, whoever comes first. Where that cannot be done, the package is
loaded as anybody would.

What is passed is None, bool, int, float, str and lists of them; what comes back is what the package
gives: JSON parsed, arrays of texts and numbers as lists, all other types as their text.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any
else:
    ModuleType = type(sys)  # without the module `types`

# What `poll` of a connection says.
OK, READ, WRITE = 0, 1, 2
# SQLSTATEs that somebody here asks about (PostgreSQL's documentation, appendix A).
# Of a table in a schema that is not there either: a cast to regclass says the second up to
# PostgreSQL 15.
NOT_MADE = ("42P01", "3F000")
UNDEFINED_COLUMN = "42703"
LOCK_NOT_AVAILABLE, DEADLOCK_DETECTED = "55P03", "40P01"

_NAME = "psycopg2"
# The types `json` and `jsonb` and arrays of them (pg_type.dat).
_JSON = ((114, 199, "JSON"), (3802, 3807, "JSONB"))


def load() -> Any:
    """Return the extension module, whose names are those of PEP 249.

    Raises ImportError where there is none.
    """
    package = None if _NAME in sys.modules else _unstarted()
    if package is None:
        import psycopg2._psycopg

        return psycopg2._psycopg
    try:
        with _Instead(ssl=None, datetime=_datetime()):
            import psycopg2._psycopg
    except BaseException:
        sys.modules.pop(_NAME, None)
        raise
    _complete(psycopg2._psycopg)
    return psycopg2._psycopg


def connected(**parameters: object) -> Any:
    """Return a new connection with these parameters of libpq's; those that are None are left
    out."""
    driver = load()
    # It asks the package how a text of parameters is made, for one without the password
    extensions: Any = ModuleType("psycopg2.extensions")
    extensions.make_dsn = dsn
    with _Instead(**{extensions.__name__: extensions}):
        return driver._connect(dsn(**parameters))


def cursor(connection: Any) -> Any:
    """Return a new cursor of a connection."""
    with _Instead(datetime=_datetime()):  # which it takes the time zones from
        return connection.cursor()


class _Instead:
    """Modules that the extension module is to find where they are not loaded yet, in place of those
    that load half of the standard library.

    It imports `ssl` for the locks of an OpenSSL before 1.1, which no Python of ours has, and does
    without; of `datetime` it takes what is written in C.
    """

    def __init__(self, **modules: Any) -> None:
        self._modules = {name: each for name, each in modules.items() if name not in sys.modules}

    def __enter__(self) -> None:
        sys.modules.update(self._modules)

    def __exit__(self, *_: object) -> None:
        for name, each in self._modules.items():
            if sys.modules.get(name) is each:
                del sys.modules[name]


def _datetime() -> Any:
    try:
        return __import__("_datetime")
    except ImportError:  # a Python that has it in one piece
        import datetime

        return datetime


def dsn(_: object = None, **parameters: object) -> str:
    """Return parameters as libpq reads them (PostgreSQL's documentation, "Keyword/Value Connection
    Strings")."""
    told = {name: str(value) for name, value in parameters.items() if value is not None}
    return " ".join(f"{name}={_quoted(told[name])}" for name in told)


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


class _Package(ModuleType):
    """psycopg2 before its start, which the first question for one of its names brings about."""

    def __getattr__(self, name: str) -> Any:
        self.__class__ = ModuleType  # type: ignore[assignment]
        loader: Any = self.__loader__
        loader.exec_module(self)
        return getattr(self, name)


def _unstarted() -> _Package | None:
    """Let psycopg2 be in this process without its start; None where it is in no folder."""
    for finder in sys.meta_path:
        spec = finder.find_spec(_NAME, None)
        if spec is None:
            continue
        if spec.submodule_search_locations is None or spec.loader is None:
            return None
        package = _Package(_NAME)
        package.__spec__ = spec
        package.__loader__ = spec.loader
        package.__package__ = _NAME
        package.__path__ = spec.submodule_search_locations
        package.__file__ = spec.origin
        sys.modules[_NAME] = package
        return package
    return None


def _complete(driver: Any) -> None:
    """Do what the package's start does for what we pass and get."""
    # A server names its encodings with and without dashes.
    encodings = driver.encodings
    encodings.update(
        {name.replace("_", "").replace("-", "").upper(): each for name, each in encodings.items()}
    )
    for of_one, of_many, name in _JSON:
        one = driver.new_type((of_one,), name, _json)
        driver.register_type(one)
        driver.register_type(driver.new_array_type((of_many,), f"{name}ARRAY", one))


def _json(text: str | None, _cursor: object) -> Any:
    from storpool_ovirt import documents

    return None if text is None else documents.read(text)
