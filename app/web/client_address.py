"""The client of a request, as rate limits count it.

Behind a reverse proxy, uvicorn puts the visitor's address in the place of the proxy's if it trusts the proxy
(`FORWARDED_ALLOW_IPS`).
"""

from contextvars import ContextVar
from ipaddress import IPv4Address, ip_address, ip_network

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

_HOUSEHOLD_BITS = 64
"""The bits of an IPv6 address that count; its owner may choose the others anew for every request."""


NOBODY = "unknown"
CURRENT = ContextVar("client", default=NOBODY)


class CurrentClient:
    """Notes the client of each request, for code that is fair between clients but never sees the request."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            CURRENT.set(client_of(Request(scope)))
        await self.app(scope, receive, send)


def current_client() -> str:
    """Returns the client of the current request; `NOBODY` outside of one."""
    return CURRENT.get()


def client_of(request: Request) -> str:
    """Returns `203.0.113.7`, `2001:db8:1:2::/64`, or the server's name for a client without an address."""
    return counted(request.client.host) if request.client else NOBODY


def counted(host: str) -> str:
    """Returns an address as it is counted. Pure."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ip_network((address, _HOUSEHOLD_BITS), strict=False))
