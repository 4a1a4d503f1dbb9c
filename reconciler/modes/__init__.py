"""What a person starts.

The daemon, one cycle for CI, replay and recording: each puts a source, a sink and observers together. Knows all wings;
only the command line knows it.
"""
