"""The edge to an API server.

Credentials, connections, Lists. Knows the loop and the wings below it, but neither disk nor status.
"""
