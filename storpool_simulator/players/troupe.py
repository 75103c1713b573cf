"""The players that a simulator was asked for, each with its settings and its way to the API."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Union

from storpool_simulator import errors
from storpool_simulator.players import qos, stage, tiers, vc_config, volumecare, wire

Folder = Union[str, Path]


class _Service(stage.Player, Protocol):
    """A player that is given a file first."""

    def provide(self, path: Path) -> None:
        """Give it its settings; raises ValueError, a sentence, or CallError."""


@dataclass(frozen=True)
class Files:
    """The settings of players; without a file there is no such player."""

    qos: Folder | None = None
    volumecare: Folder | None = None


NONE = Files()


def check(files: Files) -> None:
    """See that the files can be read and are what they should; raises OptionError."""
    for file, parse in ((files.qos, tiers.parse), (files.volumecare, vc_config.parse)):
        if file is None:
            continue
        try:
            parse(Path(file).read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            raise errors.OptionError(f"{file} is no text") from None
        except ValueError as problem:
            raise errors.OptionError(f"{file}: {problem}") from None
        except OSError as problem:
            raise errors.OptionError(f"{file} cannot be read: {problem.strerror}") from None


def gathered(host: str, port: int, token: str, files: Files) -> list[stage.Player]:
    """Return the players whose file was given; raises StartError for one that cannot be used."""
    found: list[stage.Player] = []
    if files.qos is not None:
        found.append(_given(qos.Qos(wire.Api(host, port, token, "storpool_qos")), files.qos))
    if files.volumecare is not None:
        care = volumecare.VolumeCare(wire.Api(host, port, token, "storpool_volumecare"))
        found.append(_given(care, files.volumecare))
    return found


def _given(service: _Service, file: Folder) -> stage.Player:
    try:
        service.provide(Path(file))
    except ValueError as problem:
        raise errors.StartError(f"{file}: {problem}") from None
    except wire.CallError as problem:
        raise errors.StartError(f"{service.name} cannot begin: {problem}") from None
    except OSError as problem:
        raise errors.StartError(f"{file} cannot be read: {problem.strerror}") from None
    return service
