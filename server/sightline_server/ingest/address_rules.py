"""IP addresses that images may be fetched from.

Rule: pure, and an allow-list. Python's `is_global` alone is not enough: it calls multicast global, and older versions
call 6to4 and some of the reserved blocks global. An IPv4 address inside an IPv6 one is judged as the IPv4 address.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

IPAddress = IPv4Address | IPv6Address


def networks(*texts: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """The networks of CIDR texts."""
    return tuple(map(ip_network, texts))


GLOBAL_UNICAST = IPv6Network("2000::/3")
"""The part of IPv6 that IANA allocates; everything else is reserved or for private use."""

NAT64 = IPv6Network("64:ff9b::/96")
"""IPv4 hosts as an IPv6-only network sees them (RFC 6052): DNS64 answers with these addresses."""

NOT_PUBLIC = networks(
    "192.0.0.0/24",  # protocol assignments; holds a metadata service (192.0.0.192)
    "192.88.99.0/24",  # relays of 6to4, retired by RFC 7526
    "2001::/23",  # protocol assignments, Teredo among them: it holds an IPv4 address
    "2001:db8::/32",  # documentation
    "2002::/16",  # 6to4: holds an IPv4 address
    "3fff::/20",  # documentation
)

PRIVATE = networks(
    *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "198.18.0.0/15"),
    *("::1/128", "fc00::/7"),
)
"""Networks of a shop's own image servers. Link-local addresses are left out: clouds serve credentials there."""

METADATA = networks("100.100.100.200/32", "168.63.129.16/32", "fd00:ec2::254/128", "fd20:ce::254/128")
"""Services of clouds (Alibaba, Azure, AWS, Google) that are outside of the link-local networks; never an image host."""


def is_allowed(address: IPAddress, *, allow_private: bool) -> bool:
    """Returns whether images may be fetched from `address`: a public one, or with `allow_private` one of `PRIVATE`."""
    inner = without_mapping(address)
    if any(inner in network for network in METADATA):
        return False
    return is_public(inner) or (allow_private and any(inner in network for network in PRIVATE))


def without_mapping(address: IPAddress) -> IPAddress:
    """The IPv4 address inside a mapped or translated IPv6 one; any other address as it is."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in NAT64 else address


def is_public(address: IPAddress) -> bool:
    """Returns whether the public internet routes `address`."""
    if isinstance(address, IPv6Address) and (address.scope_id or address not in GLOBAL_UNICAST):
        return False
    return address.is_global and not address.is_multicast and not any(address in network for network in NOT_PUBLIC)
