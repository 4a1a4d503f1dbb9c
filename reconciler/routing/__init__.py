"""From a Snapshot to a routing table.

Annotations, what each tenant asks for, which tenant gets a host or path, limits, problems. It imports only objects,
settings and values; it does not know nginx's files. It is pure.
"""
