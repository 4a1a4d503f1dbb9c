"""Kubernetes objects.

A Listing holds Namespaces, Pods and Secrets as they were read; a Snapshot holds what routing reads of them; a Change
is what differs between two Snapshots. This wing imports only settings and values. It is pure.
"""
