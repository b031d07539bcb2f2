"""Report: figures, tables and pages made from records alone (`pictures`); nothing here runs anything."""
