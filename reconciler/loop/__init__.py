"""The reconcile loop.

One cycle over all stages, the ports by which modes differ (source, sink, observers), events, which Namespaces are held
back, budgets. It imports only rendering and the wings below it. It is pure, except for the source and the sink that it
is given.
"""
