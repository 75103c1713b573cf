"""What is wrong with this machine, check by check: each asks the tool that decides."""
