"""The templates of the rendered files: loops only, no decisions."""
