"""arXiv 2506.05718, "Grokking Beyond the Euclidean Norm of Model Parameters": its figures.

The convex ones take minutes, the trained networks (in 4 and 5 few; 11, 30, 35, groktimizer) hours.
"""

from groktimizer.papers import beyond_l2_data as data
from groktimizer.papers import beyond_l2_depth as depth
from groktimizer.papers import beyond_l2_matrix as matrix
from groktimizer.papers import beyond_l2_networks as networks
from groktimizer.papers import beyond_l2_sparse as sparse
from groktimizer.papers.reproduction import Paper

PAPER = Paper(
    "arXiv 2506.05718, Grokking Beyond the Euclidean Norm of Model Parameters",
    {
        "3": sparse.figure_3,
        "4": sparse.figure_4,
        "5": matrix.figure_5,
        "6": matrix.figure_6,
        "7": sparse.figure_7,
        "8": matrix.figure_8,
        "9": depth.figure_9,
        "11": data.figure_11,
        "19": sparse.figure_19,
        "27": sparse.figure_27,
        "30": networks.figure_30,
        "35": data.figure_35,
        "groktimizer": networks.against_groktimizer,
    },
    alone=("9", "4", "5", "3", "6", "8", "27", "7", "19"),
)
