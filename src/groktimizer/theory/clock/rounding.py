"""Numbers as text that stay true: a lower bound is rounded down, an upper one up."""

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

_WHOLE = 2**53  # larger numbers are not written digit by digit, which a float does not know
_SMALL = 1e-4  # nor smaller ones
_ROUNDINGS = {">=": ROUND_FLOOR, "<=": ROUND_CEILING, "~": ROUND_HALF_EVEN}


def rounded(value: float, side: str = "~", digits: int = 4) -> str:
    """Write a number with a few significant digits, and with all digits before the point.

    Args:
        value: Any float.
        side: ">=" of a lower bound, "<=" of an upper one, "~" of neither.
        digits: Significant digits at least.

    Returns:
        The text; what it says is at most `value` for ">=" and at least `value` for "<=".

    Example:
        >>> rounded(2.80683, ">="), rounded(2.80613, "<="), rounded(11_981.7, ">="), rounded(2.5e-9)
        ('2.806', '2.807', '11,981', '2.5e-09')
    """
    if not math.isfinite(value):
        return str(value)
    exact = Decimal(repr(float(value)))
    last = exact.adjusted() - digits + 1  # the power of ten of the last digit
    plain = _SMALL <= abs(value) < _WHOLE or value == 0
    short = exact.quantize(Decimal(1).scaleb(min(last, 0) if plain else last), rounding=_ROUNDINGS[side])
    if not plain:
        return f"{float(short):.{digits}g}"
    text = f"{short:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
