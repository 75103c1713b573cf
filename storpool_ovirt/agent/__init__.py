"""What runs on each host beside its VMs: guests see that a disk has grown, none stays frozen."""
