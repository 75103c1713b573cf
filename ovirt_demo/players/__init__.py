"""Stand-ins for programs and files of oVirt's, in our own words: they are copied to where a host or
an Engine has the real ones, and are run from there, never imported by the demo.
"""
