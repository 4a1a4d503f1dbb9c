"""The sink that serves.

It holds nginx as a program and as a running process, its sandbox, and how a release goes live, is proven and is rolled
back. It imports from `disk`, `loop` and the wings below.
"""
