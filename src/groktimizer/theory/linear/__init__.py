"""Linear students of linear teachers (arXiv 2310.16441), and how fast first-order methods can be on quadratics."""
