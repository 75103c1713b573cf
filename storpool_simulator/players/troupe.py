"""The players that there are, and those that a simulator was asked for, each with its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Protocol, Union

from storpool_simulator import errors
from storpool_simulator.players import qos, stage, tiers, vc_config, volumecare, wire

Folder = Union[str, Path]


class _Service(stage.Player, Protocol):
    """A player that is given its settings first."""

    def provide(self, text: str) -> None:
        """Give it its settings, which have been checked; raises CallError."""


PLAYERS: Mapping[str, Callable[[wire.Api], _Service]] = {
    qos.NAME: qos.Qos,
    volumecare.NAME: volumecare.VolumeCare,
}


@dataclass(frozen=True)
class Files:
    """The settings of players; without a file there is no such player."""

    qos: Folder | None = None
    volumecare: Folder | None = None


def read(files: Files) -> Mapping[str, str]:
    """Return the settings of the players whose file was given, by their names.

    Raises OptionError for what cannot be read, or is not what it should be.
    """
    texts = {}
    for name, file, parse in (
        (qos.NAME, files.qos, tiers.parse),
        (volumecare.NAME, files.volumecare, vc_config.parse),
    ):
        if file is None:
            continue
        try:
            texts[name] = Path(file).read_text(encoding="utf-8")
            parse(texts[name])
        except UnicodeDecodeError:
            raise errors.OptionError(f"{file} is no text") from None
        except ValueError as problem:
            raise errors.OptionError(f"{file}: {problem}") from None
        except OSError as problem:
            raise errors.OptionError(f"{file} cannot be read: {problem.strerror}") from None
    return texts


def gathered(host: str, port: int, token: str, settings: Mapping[str, str]) -> list[stage.Player]:
    """Return the players that there are settings of; raises StartError for one that cannot play."""
    found: list[stage.Player] = []
    for name, text in settings.items():
        service = PLAYERS[name](wire.Api(host, port, token, f"storpool_{name}"))
        try:
            service.provide(text)
        except (wire.CallError, ValueError) as problem:
            raise errors.StartError(f"{name} cannot begin: {problem}") from None
        found.append(service)
    return found
