"""Programs of StorPool's that run beside a cluster and change it by its API: QoS and VolumeCare.

They know the cluster by HTTP alone, as the real ones do, and go by the simulator's clock.
docs/simulator.md tells what is known of the real ones, and what is a guess here.
"""
