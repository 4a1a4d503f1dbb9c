"""What a person starts.

The daemon, one cycle for CI, replay and recording: each puts a source, a sink and observers together. It may import all
other wings; only the command line imports it.
"""
