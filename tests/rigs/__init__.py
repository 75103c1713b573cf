"""What the tests of two rooms or more share."""
