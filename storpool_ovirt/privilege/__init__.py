"""Between root and other users: work in a child with their rights, and their requests through
sudo."""
