"""Advice: what people are told beyond problems.

Why a host or path is answered as it is, what nearly answers it, and what is wrong with manifests. It imports only
routing and the wings below it. It is pure.
"""
