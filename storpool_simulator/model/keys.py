"""The cluster's key-value store: buckets of pairs, with versions that grow [sptypes]."""

from __future__ import annotations

from collections.abc import Mapping

from storpool_simulator import errors
from storpool_simulator.model import fields
from storpool_simulator.model.cluster import Cluster
from storpool_simulator.model.objects import Bucket


def bucket(cluster: Cluster, name: str) -> Bucket:
    """Return a bucket by its name, or raise NoSuchObjectError, ImpossibleNameError."""
    found = cluster.catalog.buckets.get(name)
    if found is None:
        raise fields.unknown("Bucket", name, possible=fields.BUCKET_NAME.fits(name))
    return found


def one(cluster: Cluster, name: str, key: str) -> Bucket:
    """Return a bucket with one of its pairs, or raise NoSuchObjectError."""
    found = bucket(cluster, name)
    if key not in found.pairs:
        raise errors.NoSuchObjectError(f"Bucket '{name}' has no key '{key}'.")
    return Bucket(name, found.version, {key: found.pairs[key]})


def create(cluster: Cluster, name: str) -> None:
    """Carry out KV/Create."""
    with cluster.change():
        if not fields.BUCKET_NAME.fits(name):
            raise errors.InvalidParamError(f"'{name}' can not be the name of a bucket.")
        if cluster.catalog.buckets.get(name) is not None:
            raise errors.ObjectExistsError(f"Bucket '{name}' already exists.")
        cluster.catalog.buckets.put(Bucket(name, 0, {}))


def delete(cluster: Cluster, name: str) -> None:
    """Carry out KV/Delete."""
    with cluster.change():
        bucket(cluster, name)
        cluster.catalog.buckets.drop(name)


def update(
    cluster: Cluster, name: str, pairs: Mapping[str, str], run_if_version_is: int | None
) -> None:
    """Carry out KV/Set; an empty value deletes its key.

    Raises VersionMismatchError, and changes nothing, when the version is another than the caller
    knows [sptypes].
    """
    with cluster.change():
        old = bucket(cluster, name)
        if run_if_version_is not in (None, old.version):
            raise errors.VersionMismatchError(
                f"Bucket '{name}' has version {old.version}, not {run_if_version_is}."
            )
        merged = {key: value for key, value in {**old.pairs, **pairs}.items() if value}
        cluster.catalog.buckets.put(Bucket(name, old.version + 1, merged))
