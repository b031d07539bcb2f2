"""Ground floor, on which every room may stand: checks of what users give, names, seeds, files, memory, extras."""
