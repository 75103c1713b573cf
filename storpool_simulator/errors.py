"""Refusals of the simulated cluster, with the names that go over the wire.

    ApiError                    any refusal: name, text, HTTP status, whether to repeat
     |- NoSuchObjectError       objectDoesNotExist
     |- ObjectExistsError       objectExists
     |- InvalidParamError       invalidParam
     |   +- ImpossibleNameError  the same, or objectDoesNotExist by the switch bad_name_error
     |- BusyError               busy
     |- NoSpaceError            insufficientResources
     |- VersionMismatchError    runIfVersionIsMismatch

    StartError                  the simulator cannot start: one sentence for whoever started it
     +- OptionError             with these options it never can

The names are those that clients rely on [cinder] [csi] [spapi]. The HTTP statuses are documented
nowhere, and clients work with any, so they are a free choice. The switch `error_status` makes all
of them 500.
"""

from __future__ import annotations


class ApiError(Exception):
    """A refusal as a client of the API sees it."""

    name = "invalidParam"
    status = 400
    transient = False

    def __init__(
        self,
        descr: str,
        *,
        name: str | None = None,
        status: int | None = None,
        transient: bool = False,
    ):
        super().__init__(descr)
        self.descr = descr
        self.name = name or type(self).name
        self.status = status or type(self).status
        self.transient = transient

    def facts(self) -> dict[str, object]:
        """Return the error as it goes over the wire."""
        return {"name": self.name, "descr": self.descr, "transient": self.transient}


class NoSuchObjectError(ApiError):
    """Something named in the path or in the body is unknown [cinder] [csi]."""

    name = "objectDoesNotExist"
    status = 404


class ObjectExistsError(ApiError):
    """The name is taken, by a volume or by a snapshot [cinder]."""

    name = "objectExists"
    status = 409


class InvalidParamError(ApiError):
    """A bad value, an unknown field, an unknown client [csi]."""


class ImpossibleNameError(InvalidParamError):
    """A name or an id that nothing can have, as it does not fit its pattern [sptypes]."""


class BusyError(ApiError):
    """The object is attached or its device is open [brick] [csi]."""

    name = "busy"
    status = 500


class NoSpaceError(ApiError):
    """The size cannot be satisfied [csi]."""

    name = "insufficientResources"
    status = 507


class VersionMismatchError(ApiError):
    """The bucket has another version than the caller believes [spapi]."""

    name = "runIfVersionIsMismatch"
    status = 409


class StartError(Exception):
    """The simulator cannot start; the text is one sentence that says why."""


class OptionError(StartError):
    """What is asked for can be nowhere and never: nothing was made."""
