"""From a Snapshot to a routing table.

Annotations, what each tenant asks for, who gets a host or path, limits, problems. Knows objects, settings and values,
and nothing of nginx's files. Pure.
"""
