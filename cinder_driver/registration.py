"""The entry of our connector in os-brick: for the protocol `storpool`, in place of its own.

os-brick has no entry points: its factory looks into a dictionary (os_brick/initiator/connector.py,
`_connector_mapping_linux`, and `unix_connector_list` for the properties of a host). `register` puts
our class there in this process. `arm` waits with that until the process imports os-brick's module,
if it ever does: a .pth file calls it at every start of Python (`python3 -m cinder_driver install`,
in __main__.py), so this module imports next to nothing.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # typing is an import that the start of Python can spare
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

CONNECTOR = "cinder_driver.connector.StorPoolConnector"
FACTORY = "os_brick.initiator.connector"
STOCK = "os_brick.initiator.connectors.storpool.StorPoolConnector"
PROTOCOL = "STORPOOL"  # os_brick.initiator.STORPOOL


def register() -> None:
    """Make os-brick's factory use our connector in this process; repeatable. Imports os-brick."""
    import importlib

    _enter(importlib.import_module(FACTORY))


def arm() -> None:
    """Register as soon as this process imports os-brick's factory, if ever; repeatable."""
    if FACTORY in sys.modules:
        _enter(sys.modules[FACTORY])
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder:
    """A finder of os-brick's factory alone, which registers us when it has been loaded."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return the spec of that one name (`importlib.abc.MetaPathFinder`)."""
        if name != FACTORY:
            return None
        from importlib.machinery import PathFinder

        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            _follow(spec.loader)
        return spec


def _follow(loader: Any) -> None:
    load = loader.exec_module

    def load_and_enter(module: ModuleType) -> None:
        load(module)
        try:
            _enter(module)
        except (AttributeError, TypeError) as error:
            # Another os-brick than those that we know: whatever it does with StorPool, its other
            # protocols must work.
            import logging

            log = logging.getLogger(__name__)
            log.error("os-brick has no such lists of connectors as we know: %s", error)  # noqa: TRY400  one line says it

    loader.exec_module = load_and_enter


def _enter(factory: Any) -> None:
    # By name, as os-brick has them: our class is imported when it is used.
    factory._connector_mapping_linux[PROTOCOL] = CONNECTOR
    listed = factory.unix_connector_list
    listed[:] = [CONNECTOR if name == STOCK else name for name in listed]
    if CONNECTOR not in listed:
        listed.append(CONNECTOR)
