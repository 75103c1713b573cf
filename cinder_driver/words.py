"""What Cinder's and os-brick's users, and their logs, read of us.

It is one line, bounded, and never has a token.
"""

from __future__ import annotations

from storpool_ovirt import sentences
from storpool_ovirt.secret import Secret

# A service has few tokens, and all that a process ever used stay secret: a log is read by more
# people than cinder.conf.
_secrets = sentences.Secrets()


def hide(token: Secret) -> None:
    """Let no text have this token from now on, whoever says it.

    A proxy may send back what it was sent.
    """
    _secrets.hide(token.reveal())


def sentence(error: object) -> str:
    """Return what an error says as one sentence: on one line, not too long, without tokens."""
    return sentences.fit(_secrets.masked(str(error)))


def cause(error: BaseException) -> BaseException | None:
    """Return the cause for an exception of Cinder's or os-brick's.

    It is None where one in the chain would say a token: services log whole chains
    (`LOG.exception`), in the words that StorPool, or a proxy, sent.
    """
    each: BaseException | None = error
    while each is not None:
        text = str(each)
        if _secrets.masked(text) != text:
            return None
        each = each.__cause__ or each.__context__
    return error
