"""Addresses: a /16 of loopback for each local Kubernetes; pods in one half, services in the other."""

from collections.abc import Collection
from ipaddress import IPv4Address

PODS = (1 << 8, 100 << 8)  # 127.n.1.0 to 127.n.99.255
SERVICES = (128 << 8, 250 << 8)


class AddressBook:
    """Gives addresses in turn, so that one is not used again soon after it was given back."""

    def __init__(self, network: int) -> None:
        """Give addresses of 127.`network`.0.0/16."""
        self._base = int(IPv4Address(f"127.{network}.0.0"))
        self._next = {PODS: PODS[0], SERVICES: SERVICES[0]}

    def pod(self, used: Collection[str]) -> str:
        """Give a pod address that is not in `used`."""
        return self._take(PODS, used)

    def service(self, used: Collection[str]) -> str:
        """Give a service address that is not in `used`."""
        return self._take(SERVICES, used)

    def _take(self, pool: tuple[int, int], used: Collection[str]) -> str:
        first, end = pool
        for _ in range(first, end):
            offset = self._next[pool]
            self._next[pool] = offset + 1 if offset + 1 < end else first
            address = str(IPv4Address(self._base + offset))
            if offset & 0xFF not in (0, 0xFF) and address not in used:
                return address
        raise RuntimeError("all addresses are in use")
