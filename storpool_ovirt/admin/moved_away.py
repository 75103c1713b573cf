"""What a domain of one cluster does not see, and which is not gone: somebody moved it to another
cluster of the name space."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from storpool_ovirt import errors, names
from storpool_ovirt.engine import tree


class Away(NamedTuple):
    """In which cluster objects live, by global id; `unseen` says why that could not be looked for,
    "" where it could."""

    moved: Mapping[str, str]
    unseen: str = ""


def looked_for(work: tree.Work, missing: Collection[str]) -> Away:
    """Look in the other clusters for what is missing in this one, by global ids.

    A domain of several clusters has looked there already.
    """
    if work.client.has_several or not missing:
        return Away({})
    try:
        everywhere = work.client.all_of_space()
    except (errors.ApiUnavailable, errors.DeadlineExceeded) as error:
        work.log.line("space_not_seen", reason=error)
        return Away({}, str(error))
    own = work.domain.api.cluster_id
    return Away(
        {
            each.global_id: str(each.cluster_id)
            for each in everywhere
            if each.global_id in missing
            and not each.dying
            and each.cluster_id != (own or names.cluster_of(each.global_id))
        }
    )
