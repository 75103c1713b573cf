"""StorPool for OpenStack's libraries: a Cinder volume driver and an os-brick connector over
`storpool_ovirt`.

The only place that knows cinder and os_brick.
"""
