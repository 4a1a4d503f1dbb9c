"""From a routing table to the files that nginx reads.

Quoting, the tree of files, the routes file. It imports only routing and the wings below it. It is pure, except that it
reads its templates.
"""
