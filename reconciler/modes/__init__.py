"""What a person starts.

The daemon and each command. It may import all other wings; only the command line imports it.
"""
