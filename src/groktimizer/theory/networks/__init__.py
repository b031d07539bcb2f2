"""Networks: time laws, motion along the zero-loss manifold, constants along a path, fixed feature maps."""
