"""The stand-ins for packages of others, built for a run, and roots that have some of them."""

from __future__ import annotations

from pathlib import Path

import package_root

from rigs import stock_packages


class Stock:
    """What stands in for packages of others, and the roots that have some of them."""

    def __init__(self, folder: Path, python: package_root.Python) -> None:
        self.system = stock_packages.system(folder, python.version)
        self.engine = {each: stock_packages.engine(folder, each) for each in stock_packages.ENGINES}
        self.vdsm = {each: stock_packages.vdsm(folder, each) for each in stock_packages.VDSMS}
        self.root = package_root.made(folder / "root", python, self.system)
