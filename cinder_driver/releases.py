"""Which releases of OpenStack's libraries work together.

It says so as far as one that fails does not say it itself.
"""

from __future__ import annotations

from importlib import metadata

# cinderlib 5.2.0, the last one, reads Cinder's module cinder.db.sqlalchemy, which Cinder 29.0 has
# no more.
FIRST_CINDER_WITHOUT_CINDERLIB = 29


def cinderlib_fault() -> str | None:
    """Return why cinderlib cannot work here, None when it can.

    It is called before `import cinderlib`, which only dies.
    """
    try:
        cinder, cinderlib = metadata.version("cinder"), metadata.version("cinderlib")
    except metadata.PackageNotFoundError as error:
        missing = f"{error.name} is not installed for this Python"
        return f"{missing}: use one of the sets in requirements/"
    if int(cinder.partition(".")[0]) < FIRST_CINDER_WITHOUT_CINDERLIB:
        return None
    return (
        f"cinderlib {cinderlib} cannot work with Cinder {cinder}: it needs the module"
        f" cinder.db.sqlalchemy, which Cinder has no more since {FIRST_CINDER_WITHOUT_CINDERLIB}.0."
        "  Use one of the sets in requirements/"
    )
