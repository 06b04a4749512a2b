"""A bad network between two real peers: UDP and TCP proxies that lose, delay and cut by a seed.

What happens to a packet depends on the seed, the direction and its number, never on the time it
comes, so that a failing test fails again. Start one in the test's own loop, or in a thread of its
own with ``in_thread``; every control may be called from any thread.
"""

from tests.impairment_fates import CLEAR, Burst, Fate, Fates, Impairment, in_thread
from tests.impairment_tcp import TcpProxy
from tests.impairment_udp import UdpProxy

__all__ = [
    "CLEAR",
    "Burst",
    "Fate",
    "Fates",
    "Impairment",
    "TcpProxy",
    "UdpProxy",
    "in_thread",
]
