"""A lost host: the fence agent, and what is taken from the host."""
