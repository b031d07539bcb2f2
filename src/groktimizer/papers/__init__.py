"""Papers: their figures made again, one file per paper; each figure is curves, and claims that were checked."""
