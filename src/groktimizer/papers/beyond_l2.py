"""arXiv 2506.05718, "Grokking Beyond the Euclidean Norm of Model Parameters": its figures, a verdict each."""

from collections.abc import Sequence

from groktimizer.papers import beyond_l2_data as data
from groktimizer.papers import beyond_l2_depth as depth
from groktimizer.papers import beyond_l2_matrix as matrix
from groktimizer.papers import beyond_l2_networks as networks
from groktimizer.papers import beyond_l2_sparse as sparse
from groktimizer.papers.reproduction import Effort, Reproduced, chosen
from groktimizer.results import Store


def reproduce(effort: Effort, store: Store, only: Sequence[str] = ()) -> list[Reproduced]:
    """Do all figures: the convex ones in minutes, the trained networks (11, 30, 35, groktimizer) in hours.

    Args:
        effort: How much.
        store: Where the trained networks' records go and come from.
        only: Figures wanted, such as "4" or "groktimizer"; empty for all.

    Returns:
        The figures, in order.

    Raises:
        UserError: If there is no such figure.
    """
    makers = {
        "3": lambda: sparse.figure_3(effort),
        "4": lambda: sparse.figure_4(effort, store),
        "5": lambda: matrix.figure_5(effort, store),
        "6": lambda: matrix.figure_6(effort),
        "7": lambda: sparse.figure_7(effort),
        "8": lambda: matrix.figure_8(effort),
        "9": lambda: depth.figure_9(effort),
        "11": lambda: data.figure_11(effort, store),
        "19": lambda: sparse.figure_19(effort),
        "27": lambda: sparse.figure_27(effort),
        "30": lambda: networks.figure_30(effort, store),
        "35": lambda: data.figure_35(effort, store),
        "groktimizer": lambda: networks.against_groktimizer(effort, store),
    }
    return [make() for make in chosen(makers, only)]
