"""What people and machines can learn about the program.

Observers of the loop: the log, health for probes, the admin port.
It imports only the loop and the wings below it, not cluster or disk.
"""
