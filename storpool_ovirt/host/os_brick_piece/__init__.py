"""The folder of a package called `os_brick`, which Vdsm's programs find by a link in their own."""
