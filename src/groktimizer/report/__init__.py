"""Report: figures and tables drawn from records alone; nothing here runs anything."""
