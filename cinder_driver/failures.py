"""Our errors in Cinder's words: the one place that translates them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cinder import exception

from cinder_driver import words
from storpool_ovirt import errors


@contextmanager
def of(*, volume: str | None = None, snapshot: str | None = None) -> Iterator[None]:
    """Raise what Cinder expects when work on this volume or snapshot (Cinder's ids) fails.

    The classes are those that cinder.volume.manager acts upon: VolumeIsBusy and SnapshotIsBusy put
    the object back to "available", InvalidConnectorException becomes the caller's bad request, all
    else marks the object as in error.
    """
    try:
        yield
    except errors.Error as error:
        raise _translated(error, volume, snapshot) from words.cause(error)


def _translated(
    error: errors.Error, volume: str | None, snapshot: str | None
) -> exception.CinderException:
    text = words.sentence(error)
    if isinstance(error, (errors.InUse, errors.Locked)):
        if snapshot is not None:
            return exception.SnapshotIsBusy(text, snapshot_name=snapshot)
        return exception.VolumeIsBusy(text, volume_name=volume)
    if isinstance(error, errors.NotFound):
        if error.kind == "volume" and volume is not None:
            return exception.VolumeNotFound(text, volume_id=volume)
        if error.kind == "snapshot" and snapshot is not None:
            return exception.SnapshotNotFound(text, snapshot_id=snapshot)
    if isinstance(error, errors.InputError) and not isinstance(error, errors.ConfigError):
        return exception.InvalidInput(reason=text)
    return exception.VolumeBackendAPIException(data=text)
