"""`storpool-ovirt`, the command of administrators: what it finds out, what it mends, what it
says."""
