"""Between root and other users: work in a child with their rights, their requests by sudo."""
