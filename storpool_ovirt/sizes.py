"""Sizes: bytes inside; Engine, Cinder and people count in GiB."""

GIB = 1 << 30
# The API's sizes are bytes in a signed number of 64 bits (`storpool.sptypes.VolumeSize`).
GIB_MAX = (1 << 63) // GIB - 1
