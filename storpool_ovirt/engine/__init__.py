"""The adapter that oVirt Engine runs for each verb, and what Engine's disks are."""
