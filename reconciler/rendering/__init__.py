"""From a routing table to the files that nginx reads.

Quoting, the tree of files, the routes file. Knows routing and the wings below it. Pure, except that it reads its
templates.
"""
