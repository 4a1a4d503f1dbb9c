"""The values that all other wings use.

What a legal text is, label selectors, certificates, addresses, files as values. It imports no other wing. It is pure:
it uses no clock, disk, network or process.
"""
