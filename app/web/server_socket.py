"""The listening socket, bound before anything is loaded, so that a port in use is reported at once."""

import logging
import socket

import uvicorn

from scopeview.errors import ScopeviewError

log = logging.getLogger("scopeview.server")


class Server(uvicorn.Server):
    """Logs where it listens: uvicorn leaves that out for sockets that it is given."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
            log.info("Scopeview is running on http://%s:%d (press Ctrl-C to stop)", host, self.config.port)


def bound_socket(host: str, port: int) -> socket.socket:
    """Returns a socket that is bound and not yet listening. Raises `ScopeviewError` that says what to do."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _cannot(host, port, error) from None
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise _cannot(host, port, error) from None
    return bound


def _cannot(host: str, port: int, error: OSError) -> ScopeviewError:
    return ScopeviewError(
        f"cannot listen on {host}:{port}: {(error.strerror or str(error)).lower()}; name another --port or"
        " --host, or end what listens there"
    )
