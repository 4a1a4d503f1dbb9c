"""The edge to disks.

It reads and writes recordings, and keeps artefacts and folders of releases. It imports from `loop` and the wings
below, but not from `cluster` or `status`.
"""
