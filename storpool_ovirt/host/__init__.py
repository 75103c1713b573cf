"""What runs on a hypervisor: the helper, the hooks, and what they know of Vdsm and libvirt."""
