"""HTTP/1.1 without sockets: heads, framing, content codings."""
