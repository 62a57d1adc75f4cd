"""The wait, by queueing theory, behind one server with constant service time (M/D/1). Pure."""

import math


def wait_cdf(load: float, waited: float) -> float:
    """P(wait <= `waited` service times) in an M/D/1 queue at utilisation `load` (Erlang 1909).

    The alternating sum loses its digits for long waits, so beyond 12 service times the exponential tail is used.
    """
    if waited < 0:
        return 0.0
    if waited > 12:
        edge, slope = wait_cdf(load, 12.0), tail_rate(load)
        return 1.0 - (1.0 - edge) * math.exp(-slope * (waited - 12.0))
    whole = math.floor(waited)
    terms = (
        (load * (place - waited)) ** place / math.factorial(place) * math.exp(-load * (place - waited))
        for place in range(whole + 1)
    )
    return (1.0 - load) * math.fsum(terms)


def tail_rate(load: float) -> float:
    """The decay of P(wait > t) per service time: the positive root of load * (e^x - 1) = x."""
    low, high = 1e-9, 50.0
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        if load * math.expm1(middle) < middle:
            low = middle
        else:
            high = middle
    return low


def time_in_system(load: float, service_s: float, quantile: float) -> float:
    """The quantile of waiting plus service, in seconds, with Poisson arrivals at `load` of what one server can do."""
    low, high = 0.0, 1.0
    while wait_cdf(load, high) < quantile:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        if wait_cdf(load, middle) < quantile:
            low = middle
        else:
            high = middle
    return (high + 1.0) * service_s
