"""The ground that everything stands on.

What a legal text is, label selectors, certificates, addresses, files as values. Knows no other wing. Pure: no clock,
disk, network or process.
"""
