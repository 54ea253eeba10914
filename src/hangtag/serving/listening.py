"""The port, had before the model is loaded: that takes long, and a port in use is told at once."""

from __future__ import annotations

import errno
import socket

from hangtag.errors import HangtagError, UsageError

_BACKLOG = 1024


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Clients that come before the server answers wait.

    Raises:
        HangtagError: the port is in use or may not be used.
        UsageError: the host is not this machine's.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
    except (OSError, UnicodeError):
        raise UsageError(f"--host {host}: there is no such host") from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except PermissionError:
        listener.close()
        raise HangtagError(f"port {port} may not be used without rights; give another --port, such as 8000") from None
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise HangtagError(f"port {port} of {host} is in use; give another with --port") from None
        raise UsageError(f"--host {host}: {error.strerror}; it is no address of this machine") from None
    listener.setblocking(False)
    return listener
