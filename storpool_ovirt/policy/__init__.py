"""What a disk shall be: its QoS class and VolumeCare's policy, who says so, and what is written of
it."""
