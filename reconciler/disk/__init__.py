"""The edge to disks.

Recordings are read and written, artefacts and folders of releases are kept here. Knows the loop and the wings below
it, but neither cluster nor status.
"""
