"""What the server behind a connection says of itself."""

from typing import Any

__all__ = ["server_properties"]


def server_properties(connection: Any) -> dict[str, Any]:
    """Return the properties that the server sent, such as product and version; none of a broker without server."""
    return dict(getattr(connection.connection, "server_properties", None) or {})
