"""What people and machines are told.

Observers of the loop: the log, health for probes. Knows the loop and the wings below it, but neither cluster nor disk.
"""
