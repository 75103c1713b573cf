"""StorPool: its API, and what lives there.

Nothing here knows a database, an argument list or oVirt's files.
"""
