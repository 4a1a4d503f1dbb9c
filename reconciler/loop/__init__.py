"""The reconcile loop.

One cycle over all stages, the ports by which modes differ (source, sink, observers), events, who is held back,
budgets. Knows rendering and the wings below it. Pure, except for the source and sink that it is handed.
"""
