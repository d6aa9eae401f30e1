"""Asks gRPC's health service in as much HTTP/2 as that takes (RFC 9113; HPACK literals without Huffman, RFC 7541)."""

import socket
import struct

DATA, HEADERS, SETTINGS, PING, GOAWAY = 0, 1, 4, 6, 7
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value):
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def is_serving(address, seconds_max=5):
    """True if the answer is SERVING; raises OSError if the connection ends without one."""
    host, port = address.rsplit(":", 1)
    fields = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/grpc.health.v1.Health/Check"),
        (b":authority", address.encode()),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    ]
    head = b"".join(literal(name, value) for name, value in fields)
    with socket.create_connection((host, int(port)), seconds_max) as connection:
        connection.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + frame(SETTINGS, 0, 0, b"")
            + frame(HEADERS, END_HEADERS, 1, head)
            + frame(DATA, END_STREAM, 1, b"\0" * 5)
        )
        stream = connection.makefile("rb")
        while True:
            start = stream.read(9)
            if len(start) < 9:
                raise OSError("the connection ended without an answer")
            kind, flags = start[3], start[4]
            payload = stream.read(int.from_bytes(start[:3], "big"))
            if kind in (SETTINGS, PING) and not flags & ACK:
                connection.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
            elif kind == DATA and payload:
                # Five bytes of envelope, then field 1 (status) = 1 (SERVING).
                return payload[5:] == b"\x08\x01"
            elif kind == GOAWAY or kind == HEADERS and flags & END_STREAM:
                return False
