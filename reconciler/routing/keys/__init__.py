"""The keys of options: one module declares one key, or several that are alike. `catalogue.py` lists them.

How nginx is told about a key is in templates/options, in the file of the same name.
"""
