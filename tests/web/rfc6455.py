"""RFC 6455 as data: what a server must take, what it must refuse and with which code; and an oracle for both.

A stream is what a client sends after the upgrade. The numbers in the comments
are sections of the RFC.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.support.clients import BINARY, CLOSE, PING, PONG, TEXT, frame

CONTINUATION = 0x0
MAX_MESSAGE_BYTES = 1_000_000
PROTOCOL_ERROR, BAD_TEXT, TOO_LARGE = 1002, 1007, 1009
OPCODES = (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG)

EVENT = b'42["ping"]'  # a Socket.IO call that is answered


def closing(code: int, reason: bytes = b"") -> bytes:
    """A close frame."""
    return frame(code.to_bytes(2, "big") + reason, CLOSE)


def header(opcode: int, size: int, width: int = 0, *, fin: bool = True) -> bytes:
    """A masked frame up to its length; width: bytes that this takes after the 7 bits."""
    first = bytes([(0x80 if fin else 0) | opcode])
    if width == 0:
        return first + bytes([0x80 | size])
    return first + bytes([0x80 | {2: 126, 8: 127}[width]]) + size.to_bytes(width, "big")


def packed(
    first: int, payload: bytes, mask: bytes | None = b"\x37\xfa\x21\x3d", width: int | None = None
) -> bytes:
    """A frame with nothing left to chance; width: as above, if it is not the smallest."""
    size = len(payload)
    if width is None:
        width = 0 if size < 126 else 2 if size < 65_536 else 8
    head = bytes([first, (0 if mask is None else 0x80) | {0: size, 2: 126, 8: 127}[width]])
    if width:
        head += size.to_bytes(width, "big")
    return head + (payload if mask is None else mask + masked(payload, mask))


def masked(payload: bytes, mask: bytes) -> bytes:
    """The payload masked, or unmasked again."""
    if not any(mask):
        return payload
    return bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def fragments(message: bytes, cuts: list[int], opcode: int = TEXT) -> list[bytes]:
    """The frames of one message, cut at these places; a place named twice makes an empty fragment."""
    bounds = [0, *sorted(cuts), len(message)]
    last = len(bounds) - 2
    return [
        frame(message[bounds[at] : bounds[at + 1]], CONTINUATION if at else opcode, fin=at == last)
        for at in range(last + 1)
    ]


# -- what must be taken --

VALID_TEXTS = {
    "ASCII": "Hello, world",
    "Latin": "Grüße µ@ßöäüàá",
    "Greek": "κόσμε",
    "Chinese and Korean": "中文한국어",
    "emoji and what joins them": "👩‍🚀🇪🇺",
    "first and last of one byte": " \x7f",
    "first and last of two bytes": "\x80\u07ff",
    "first and last of three bytes": "\u0800\uffff",
    "first and last of four bytes": "\U00010000\U0010ffff",
    "beside the surrogates": "\ud7ff\ue000",
    "replacement character and byte order mark": "\ufffd\ufeff",
    "no characters, yet valid": "\ufffe\ufdd0\U0001fffe\U0001ffff\U000ffffe\U0010fffe",
}

# 7.4.1, and IANA's registry for 1012 to 1014; 3000 to 4999 belong to libraries and applications.
CLOSE_CODES = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999)

# 7.4.1: 1004, 1005, 1006 and 1015 must not be sent; 7.4.2: the others are out of range, or reserved and
# not defined by anyone.
NO_CLOSE_CODES = (
    0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1017, 1099, 1100, 1101, 1999, 2000, 2999, 5000, 9999, 65535,
)  # fmt: skip


# -- what must be refused --

INVALID_UTF8 = {
    "continuation alone": b"\x80",
    "last continuation alone": b"\xbf",
    "continuations alone": b"\x80\xbf\x80\xbf\x80\xbf",
    "lead of two bytes alone": b"\xc2 ",
    "lead of three bytes alone": b"\xe1 ",
    "lead of four bytes alone": b"\xf1 ",
    "three bytes without the last": b"\xe2\x82 ",
    "four bytes without the last": b"\xf0\x9f\x98 ",
    "two leads": b"\xc3\xc3\xa4",
    "a continuation too many": b"\xc3\xa4\xa4",
    "impossible FE": b"\xfe",
    "impossible FF": b"\xff",
    "slash in two bytes": b"\xc0\xaf",
    "slash in three bytes": b"\xe0\x80\xaf",
    "slash in four bytes": b"\xf0\x80\x80\xaf",
    "slash in five bytes": b"\xf8\x80\x80\x80\xaf",
    "slash in six bytes": b"\xfc\x80\x80\x80\x80\xaf",
    "NUL in two bytes": b"\xc0\x80",
    "longest overlong of two bytes": b"\xc1\xbf",
    "longest overlong of three bytes": b"\xe0\x9f\xbf",
    "longest overlong of four bytes": b"\xf0\x8f\xbf\xbf",
    "first of five bytes": b"\xf8\x88\x80\x80\x80",
    "first of six bytes": b"\xfc\x84\x80\x80\x80\x80",
    "just above U+10FFFF": b"\xf4\x90\x80\x80",
    "far above U+10FFFF": b"\xf7\xbf\xbf\xbf",
    "first high surrogate": b"\xed\xa0\x80",
    "last high surrogate": b"\xed\xaf\xbf",
    "first low surrogate": b"\xed\xb0\x80",
    "last low surrogate": b"\xed\xbf\xbf",
    "pair of surrogates": b"\xed\xa0\xbd\xed\xb8\x80",
}

TRUNCATED_UTF8 = {
    "one of two": b"\xc3",
    "one of three": b"\xe2",
    "two of three": b"\xe2\x82",
    "one of four": b"\xf0",
    "two of four": b"\xf0\x9f",
    "three of four": b"\xf0\x9f\x98",
}


def broken() -> dict[str, tuple[bytes, int]]:
    """Streams that break the rules, by what is wrong with them, and the code that tells."""
    cases: dict[str, tuple[bytes, int]] = {}
    begun = frame(EVENT[:4], fin=False)
    controls = {"close": CLOSE, "ping": PING, "pong": PONG}

    # 5.2, reserved bits: no extension was negotiated
    for bits in range(1, 8):
        cases[f"reserved bits {bits:03b} of a text"] = frame(EVENT, rsv=bits), PROTOCOL_ERROR
    for bits in (1, 2, 4):
        cases[f"reserved bits {bits:03b} of a binary frame"] = frame(b"x", BINARY, rsv=bits), PROTOCOL_ERROR
        cases[f"reserved bits {bits:03b} of an empty text"] = frame(b"", rsv=bits), PROTOCOL_ERROR
        cases[f"reserved bits {bits:03b} of a continuation"] = (
            begun + frame(EVENT[4:], CONTINUATION, rsv=bits),
            PROTOCOL_ERROR,
        )
        for name, opcode in controls.items():
            payload = b"\x03\xe8" if opcode == CLOSE else b"x"
            cases[f"reserved bits {bits:03b} of a {name}"] = frame(payload, opcode, rsv=bits), PROTOCOL_ERROR

    # 5.2, reserved opcodes
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        cases[f"opcode {opcode}"] = frame(b"x", opcode), PROTOCOL_ERROR
        cases[f"opcode {opcode}, empty"] = frame(b"", opcode), PROTOCOL_ERROR
        cases[f"opcode {opcode}, not final"] = frame(b"x", opcode, fin=False), PROTOCOL_ERROR
        cases[f"opcode {opcode} inside a message"] = begun + frame(b"x", opcode), PROTOCOL_ERROR

    # 5.1: a client masks
    for opcode in OPCODES:
        payload = b"\x03\xe8" if opcode == CLOSE else EVENT
        cases[f"opcode {opcode} unmasked"] = frame(payload, opcode, masked=False), PROTOCOL_ERROR
        cases[f"opcode {opcode} unmasked, empty"] = frame(b"", opcode, masked=False), PROTOCOL_ERROR
    cases["continuation unmasked inside a message"] = (
        begun + frame(EVENT[4:], CONTINUATION, masked=False),
        PROTOCOL_ERROR,
    )
    cases["a large frame unmasked"] = bytes([0x81, 127]) + (900_000).to_bytes(8, "big"), PROTOCOL_ERROR

    # 5.2: the shortest form of a length, and no sign; told from the header alone
    for size, width in [
        (0, 2), (1, 2), (125, 2), (0, 8), (125, 8), (126, 8), (127, 8), (128, 8), (65_535, 8),
    ]:  # fmt: skip
        cases[f"length {size} in {width} bytes"] = header(TEXT, size, width), PROTOCOL_ERROR
    cases["length of a continuation in too many bytes"] = (
        begun + header(CONTINUATION, 6, 2),
        PROTOCOL_ERROR,
    )
    cases["length with its highest bit"] = header(TEXT, 1 << 63, 8), PROTOCOL_ERROR
    cases["length of ones only"] = header(TEXT, (1 << 64) - 1, 8), PROTOCOL_ERROR

    # 5.5: control frames are short and whole
    for name, opcode in controls.items():
        start = b"\x03\xe8" if opcode == CLOSE else b""
        cases[f"{name} of 126 bytes"] = frame(start.ljust(126, b"x"), opcode), PROTOCOL_ERROR
        cases[f"{name} of 65,536 bytes"] = header(opcode, 65_536, 8), PROTOCOL_ERROR
        cases[f"{name} with a long length of few bytes"] = header(opcode, 5, 2), PROTOCOL_ERROR
        cases[f"{name} not final"] = frame(start, opcode, fin=False), PROTOCOL_ERROR
        cases[f"{name} not final inside a message"] = begun + frame(start, opcode, fin=False), PROTOCOL_ERROR
    cases["ping in two fragments"] = (
        frame(b"fi", PING, fin=False) + frame(b"rst", CONTINUATION),
        PROTOCOL_ERROR,
    )

    # 5.4: fragments belong to a message, and messages do not mix
    cases["final continuation of nothing"] = frame(EVENT, CONTINUATION), PROTOCOL_ERROR
    cases["continuation of nothing"] = frame(EVENT, CONTINUATION, fin=False), PROTOCOL_ERROR
    cases["empty continuation of nothing"] = frame(b"", CONTINUATION), PROTOCOL_ERROR
    cases["continuation after a ping"] = frame(b"x", PING) + frame(EVENT, CONTINUATION), PROTOCOL_ERROR
    cases["continuation after a whole message"] = frame(EVENT) + frame(EVENT, CONTINUATION), PROTOCOL_ERROR
    cases["continuation after a message in fragments"] = (
        b"".join(fragments(EVENT, [3, 6])) + frame(b"", CONTINUATION),
        PROTOCOL_ERROR,
    )
    for name, opcode in {"text": TEXT, "binary frame": BINARY}.items():
        cases[f"{name} inside a message"] = begun + frame(EVENT, opcode), PROTOCOL_ERROR
        cases[f"{name} of several inside a message"] = begun + frame(EVENT, opcode, fin=False), PROTOCOL_ERROR
        cases[f"empty {name} inside a message"] = begun + frame(b"", opcode), PROTOCOL_ERROR
        cases[f"{name} inside a binary message"] = (
            frame(b"x", BINARY, fin=False) + frame(EVENT, opcode),
            PROTOCOL_ERROR,
        )

    # 10.4 and 7.4.1: too large, told from the header alone
    for size in (MAX_MESSAGE_BYTES + 1, 2**31, 2**32, 2**63 - 1):
        for name, opcode in {"text": TEXT, "binary frame": BINARY}.items():
            cases[f"{name} of {size:,} bytes announced"] = header(opcode, size, 8), TOO_LARGE
        cases[f"first fragment of {size:,} bytes announced"] = header(TEXT, size, 8, fin=False), TOO_LARGE
    cases["fragments of 1,000,001 bytes together"] = (
        frame(b"4" * 600_000, fin=False) + header(CONTINUATION, 400_001, 8),
        TOO_LARGE,
    )
    cases["one byte after 1,000,000"] = (
        frame(b"4" * 999_999, fin=False) + frame(b"x", CONTINUATION, fin=False) + header(CONTINUATION, 1),
        TOO_LARGE,
    )
    cases["binary fragments of 1,000,001 bytes together"] = (
        frame(bytes(1_000_000), BINARY, fin=False) + header(CONTINUATION, 1),
        TOO_LARGE,
    )

    # 8.1: text is UTF-8, to its end
    for name, bytes_ in TRUNCATED_UTF8.items():
        cases[f"text that ends with {name}"] = frame(EVENT + bytes_), BAD_TEXT
        cases[f"fragments that end with {name}"] = (
            b"".join(fragments(EVENT + bytes_, [5, len(EVENT), len(EVENT) + 1])),
            BAD_TEXT,
        )
        cases[f"fragments that end with {name}, and an empty one"] = (
            frame(EVENT + bytes_, fin=False) + frame(b"", CONTINUATION),
            BAD_TEXT,
        )

    # 5.5.1 and 7.4: close frames
    cases["close of one byte"] = frame(b"\x03", CLOSE), PROTOCOL_ERROR
    for code in NO_CLOSE_CODES:
        cases[f"close with {code}"] = closing(code), PROTOCOL_ERROR
    cases["close with 1005 and a reason"] = closing(1005, b"nothing"), PROTOCOL_ERROR
    cases["close with a reason that is too long"] = closing(1000, b"x" * 124), PROTOCOL_ERROR
    for name, bytes_ in (INVALID_UTF8 | TRUNCATED_UTF8).items():
        cases[f"close with a reason of {name}"] = closing(1000, b"why: " + bytes_), BAD_TEXT
    return cases


# -- an oracle --


class Verdict(NamedTuple):
    """What a stream must lead to.

    pongs:    payloads, in order.
    messages: whole ones, before the end.
    codes:    that it may be closed with; none: nothing is wrong, and more may follow.
    """

    pongs: list[bytes]
    messages: list[str | bytes]
    codes: frozenset[int]


def judge(stream: bytes) -> Verdict:
    """What RFC 6455 and the limit of 1,000,000 bytes have a server make of a client's stream."""
    pongs: list[bytes] = []
    messages: list[str | bytes] = []
    kind, message, at = CONTINUATION, b"", 0

    def verdict(*codes: int) -> Verdict:
        return Verdict(pongs, messages, frozenset(codes))

    while len(stream) >= at + 2:
        first, second = stream[at], stream[at + 1]
        final, opcode, size = first >= 0x80, first & 0x0F, second & 0x7F
        at += 2
        if first & 0x70 or second < 0x80 or opcode not in OPCODES:
            return verdict(PROTOCOL_ERROR)
        if opcode >= CLOSE and (size > 125 or not final):
            return verdict(PROTOCOL_ERROR)
        if size > 125:
            width, least = (2, 126) if size == 126 else (8, 65_536)
            if len(stream) < at + width:
                break
            size = int.from_bytes(stream[at : at + width], "big")
            at += width
            if size < least or size >= 1 << 63:
                return verdict(PROTOCOL_ERROR)
        misplaced = opcode < CLOSE and (opcode == CONTINUATION) == (kind == CONTINUATION)
        if opcode < CLOSE and len(message) + size > MAX_MESSAGE_BYTES:
            # Two rules are broken at once, and either may be named.
            return verdict(TOO_LARGE, PROTOCOL_ERROR) if misplaced else verdict(TOO_LARGE)
        if len(stream) < at + 4 + size:
            break
        payload = masked(stream[at + 4 : at + 4 + size], stream[at : at + 4])
        at += 4 + size
        if misplaced:
            return verdict(PROTOCOL_ERROR)
        if opcode == PING:
            pongs.append(payload)
        elif opcode == CLOSE:
            return verdict(*_answers(payload))
        elif opcode != PONG:
            kind = kind or opcode
            message += payload
            if final:
                try:
                    messages.append(message.decode() if kind == TEXT else message)
                except UnicodeDecodeError:
                    return verdict(BAD_TEXT)
                kind, message = CONTINUATION, b""
    return verdict()


def _answers(payload: bytes) -> list[int]:
    """The codes that may answer a close frame."""
    if not payload:
        return [1000, 1005]  # 1005: an empty close frame
    code = int.from_bytes(payload[:2], "big")
    wrong = []
    if len(payload) == 1 or not (code in CLOSE_CODES or 3000 <= code <= 4999):
        wrong.append(PROTOCOL_ERROR)
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        wrong.append(BAD_TEXT)
    return wrong or [code]
