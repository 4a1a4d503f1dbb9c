"""What people and machines can learn about the program.

Observers of the loop, the admin port, explanations as text and JSON.
It imports only the loop and the wings below it, not cluster or disk.
"""
