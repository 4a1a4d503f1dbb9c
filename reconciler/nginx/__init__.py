"""The sink that serves.

nginx as a program and as a running process, its sandbox, how a release goes live, is proven and is rolled back. Knows
disk, the loop and the wings below.
"""
