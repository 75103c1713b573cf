"""What makes a machine ready, step by step, and a storage domain in Engine."""
