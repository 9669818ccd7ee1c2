"""Hosts that HTTP never goes to: link-local addresses and the metadata services of clouds.

What answers there hands out the machine's own credentials to whoever asks. A name is judged by the
addresses that it resolves to, right before one of them is connected to.
"""

from __future__ import annotations

import ipaddress
import socket
import unicodedata
from contextlib import suppress
from urllib.parse import unquote

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Metadata services elsewhere: of AWS and Google by IPv6, of Alibaba, Oracle, Azure.
METADATA = frozenset(
    map(
        ipaddress.ip_address,
        ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
    )
)
NAMES = frozenset(
    {"metadata.google.internal", "metadata.goog", "metadata", "instance-data"}
    | {"instance-data.ec2.internal", "metadata.tencentyun.com", "metadata.platformequinix.com"}
)
EMBEDDING = (ipaddress.ip_network("::/96"), ipaddress.ip_network("64:ff9b::/96"))
"""IPv6 addresses whose last 32 bits are an IPv4 address: the compatible ones, those of NAT64."""
REFUSED = "link-local addresses and metadata services are never asked"


def is_refused(address: str) -> bool:
    """Whether an address, as ``getaddrinfo`` tells it, is one that is never connected to.

    >>> [is_refused(a) for a in ("169.254.1.2", "::ffff:169.254.1.2", "fe80::1%eth0", "127.0.0.1")]
    [True, True, True, False]
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    return any(one.is_link_local or one in METADATA for one in (found, *_embedded(found)))


def _embedded(address: Address) -> list[Address]:
    """The IPv4 addresses that an IPv6 address stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if any(address in network for network in EMBEDDING):
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [one for one in found if one is not None]


def names_refused(host: str) -> bool:
    """Whether the text of a host says so, without a look at what a name resolves to.

    Every form of an IPv4 address that the system understands counts: decimal, hexadecimal, octal.

    >>> [names_refused(host) for host in ("2852039166", "0xa9.254.1", "metadata.goog.", "x.org")]
    [True, True, True, False]
    """
    name = unicodedata.normalize("NFKC", unquote(host)).replace("\u3002", ".").lower().rstrip(".")
    if name in NAMES:
        return True
    with suppress(OSError, ValueError):
        return is_refused(socket.inet_ntoa(socket.inet_aton(name)))
    with suppress(ValueError):
        return is_refused(name.strip("[]"))
    return False


def addresses(host: str, port: int | None) -> list[str]:
    """The addresses of a host that may be connected to, in the system's order."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    every = dict.fromkeys(str(address[0]) for *_, address in found)
    return [address for address in every if not is_refused(address)]
