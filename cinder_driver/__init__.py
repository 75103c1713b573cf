"""StorPool for OpenStack's libraries: a Cinder volume driver and an os-brick connector.

Both stand over `storpool_ovirt`. This is the only place that knows cinder and os_brick.
"""
