"""Seeds of the components of a run."""

import hashlib


def derive_seed(seed: int, component: str) -> int:
    """Derive the seed of one component from the seed of a run.

    The components ("split", "init", "batches/3" …) are independent of each other and of the global random state.

    Args:
        seed: Seed of the run, any integer.
        component: Name of the component.

    Returns:
        A number in [0, 2^63).

    Example:
        >>> derive_seed(0, "split") != derive_seed(0, "init")
        True
    """
    digest = hashlib.sha256(f"{seed}/{component}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
