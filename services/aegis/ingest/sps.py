"""Say in an H.264 stream's parameters that its pictures come in order. Pure.

A decoder that passes over every picture of the B kind has nothing to put into order, yet holds each picture back for
as many others as the stream says. Syntax: ITU-T H.264, 7.3.2.1.1 and annexes B and E.
"""

import re

START = b"\0\0\1"
ONE_SET = b"\xe1"
"""MP4's way to say that one parameter set follows."""
SEQUENCE = 7
"""The kind of unit that holds it, in the last five bits of its first byte."""
HEADERS = 1024
"""Bytes of a packet in which its parameters are sought; they come first."""
WITH_CHROMA = (44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244)
"""Profiles that say how colours are sampled."""
ALL_COLOURS = 3
UNORDERED = "1" + "00000000" + "1" + "1" + "1111" + "1" + "000010001" + "1"
"""Usability information in bits: nothing, but the limits of the decoder; of them, no picture to put into order, and the
end."""


def unordered(data: bytes) -> bytes:
    """Give a packet or what stands before a stream (Annex B, or as MP4 has it) with other parameters."""
    if data[:1] == b"\1":
        end = 8 + int.from_bytes(data[6:8], "big")
        if data[5:6] != ONE_SET or len(data) < end:
            return data
        unit = _changed(data[8:end])
        return data[:6] + len(unit).to_bytes(2, "big") + unit + data[end:]
    *units, last = re.split(b"(\0*" + re.escape(START) + b")", data[:HEADERS])
    # The last one goes on in what was not sought.
    return b"".join(map(_changed, units)) + last + data[HEADERS:]


class _Bits:
    def __init__(self, data: bytes) -> None:
        self.text = "".join(f"{byte:08b}" for byte in data)
        self.at = 0

    def take(self, count: int) -> int:
        self.at += count
        return int(self.text[self.at - count : self.at], 2)

    def golomb(self) -> int:
        zeros = self.text.index("1", self.at) - self.at
        self.at += zeros
        return self.take(zeros + 1) - 1


def _changed(unit: bytes) -> bytes:
    """Write another end to a sequence parameter set; give what else it is, or is not understood, as it is."""
    bits = _Bits(unit.replace(b"\0\0\3", b"\0\0")) if unit and unit[0] & 31 == SEQUENCE else None
    try:
        known = bits is not None and _skip_to_usability(bits)
    except ValueError:  # it ends before
        known = False
    if bits is None or not known:
        return unit
    text = bits.text[: bits.at] + UNORDERED
    text += "0" * (-len(text) % 8)
    plain = int(text, 2).to_bytes(len(text) // 8, "big")
    return re.sub(rb"\0\0(?=[\0-\3])", b"\0\0\3", plain)


def _skip_to_usability(bits: _Bits) -> bool:
    """Go to the flag that says whether usability information follows; False if something rare comes before it."""
    bits.take(8)
    profile = bits.take(8)
    bits.take(16)
    bits.golomb()
    if profile in WITH_CHROMA:
        if bits.golomb() == ALL_COLOURS:
            bits.take(1)
        bits.golomb()
        bits.golomb()
        if bits.take(2) & 1:  # scaling lists
            return False
    bits.golomb()
    order = bits.golomb()
    if order == 0:
        bits.golomb()
    elif order == 1:
        return False
    bits.golomb()
    bits.take(1)
    bits.golomb()
    bits.golomb()
    if not bits.take(1):
        bits.take(1)
    if bits.take(2) & 1:
        for _ in range(4):
            bits.golomb()
    return True
