"""The edge to an API server.

Credentials, connections and Lists. It imports from `loop` and the wings below, but not from `disk` or `status`.
"""
