"""A second reader of payloads, written from docs/payload.md alone and in nothing but Python: it decodes the small payloads
of payloads.txt and checks that the fixed and the entropy-coded ones carry the same values. Of the one whose lines and columns
have marks it makes the numbers again, and checks that their largest are in it.

Usage: python decode.py
"""

import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))
EDGE, TOP_K, SHAPES, SIDE = 8, 6, [(24, 16), (9,), (5, 12)], 216


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def f32_bits(bits):
    return struct.unpack("<f", struct.pack("<I", bits))[0]


def width(n):
    return (n - 1).bit_length() if n > 1 else 0


def scale(code):
    return f32_bits((751 + code) << 19) if code else 0.0


def parts(n, p):
    bounds = [(n // p) * i + (n % p) * i // p for i in range(p + 1)]
    return list(zip(bounds, bounds[1:]))


class Tensor:
    def __init__(self, shape):
        self.rows, self.columns = (shape[0], 1) if len(shape) == 1 else shape
        if self.columns <= EDGE:
            block = (EDGE * EDGE // self.columns, self.columns)
        elif self.rows <= EDGE:
            block = (self.rows, EDGE * EDGE // self.rows)
        else:
            block = (EDGE, EDGE)
        self.bands = parts(self.rows, -(-self.rows // block[0]))
        self.across = parts(self.columns, -(-self.columns // block[1]))


def kept(n):
    return max(1, (TOP_K * n + EDGE * EDGE // 2) // (EDGE * EDGE))


def dequantise(quantiser, low, high, levels):
    low, high = scale(low), scale(high)
    if quantiser == 1:
        return [high, -high]
    if quantiser == 2:
        return [low, -low, high, -high]
    if quantiser == 3:
        return levels
    step = f32(f32(high - low) / 7)
    return [s * f32(low + f32(m * step)) for m in range(8) for s in (1, -1)]


def fixed(data, tensor, quantiser, levels):
    place, number = 0, int.from_bytes(data, "little")

    def take(bits):
        nonlocal place
        place += bits
        assert place <= 8 * len(data)
        return number >> (place - bits) & ((1 << bits) - 1)

    for first, last in tensor.bands:
        for left, right in tensor.across:
            n, chunk = (last - first) * (right - left), []
            count = take(width(kept(n) + 1))
            low = take(11) if count and quantiser in (2, 4) else 0
            high = take(11) if count and quantiser in (1, 2, 4) else 0
            table = dequantise(quantiser, low, high, levels)
            for _ in range(count):
                index, code = take(width(n)), take({1: 1, 2: 2, 3: 2, 4: 4, 5: 32}[quantiser])
                chunk.append((index, f32_bits(code) if quantiser == 5 else table[code]))
            yield chunk
    assert 8 * len(data) - place < 8 and number >> place == 0


class Code:
    def __init__(self, data, values):
        self.lanes = 1 if values <= 4096 else 16 if values <= 16384 else 32
        self.states = list(struct.unpack(f"<{self.lanes}I", data[: 4 * self.lanes]))
        rest = data[4 * self.lanes :]
        self.words = list(struct.unpack(f"<{len(rest) // 2}H", rest))[::-1]
        assert all(state >= 1 << 16 for state in self.states)

    def refill(self, lane):
        if self.states[lane] < 1 << 16:
            self.states[lane] = self.states[lane] << 16 | self.words.pop()

    def take(self, lane, starts, bits=8):
        slot, starts = self.states[lane] % (1 << bits), starts + [1 << bits]
        symbol = max(s for s, start in enumerate(starts[:-1]) if start <= slot)
        share = starts[symbol + 1] - starts[symbol]
        self.states[lane] = share * (self.states[lane] >> bits) + slot - starts[symbol]
        return symbol

    def symbols(self, lane, *tables):
        found = [self.take(lane, table) for table in tables]
        self.refill(lane)
        return found

    def raw(self, lane, bits):
        number = self.states[lane] % (1 << bits)
        self.states[lane] >>= bits
        self.refill(lane)
        return number


def table(shares):
    starts = [sum(shares[:s]) for s in range(len(shares) + 1)]
    assert starts[-1] <= 256
    return starts


def steps(fall):
    weights, weight = [0] * 17, 256
    for pair in range(9):
        weights[max(2 * pair - 1, 0)] = weights[2 * pair] = weight
        weight = weight * fall >> 8
    shares = [1 + 240 * weight // sum(weights[:16]) for weight in weights[1:16]]
    return table([256 - sum(shares)] + shares[:-1])


SEGMENTS = [
    ([24, 15, 9, 6, 4, 2, 1], [2]),
    ([22, 14, 10, 6, 4, 3, 2, 1], [1]),
    ([20, 14, 10, 7, 4, 3, 2], [2, 1]),
    ([19, 13, 9, 7, 5, 3], [4, 2, 1]),
    ([17, 13, 9, 7, 5], [6, 3, 2, 1]),
    ([16, 12, 9, 7, 5, 4, 3, 2], [3, 1, 1]),
    ([15, 12, 9, 7, 5, 4, 3], [4, 2, 1, 1]),
    ([15, 11, 9, 7, 5, 4, 3, 2], [3, 2, 1, 1]),
]


class Lines:
    """Lines and columns of a section, with their marks."""

    def __init__(self, tensor):
        w = tensor.columns // len(tensor.across)
        rows = max(1, -(-(EDGE // 2) // w))
        runs = w > 2 * EDGE or w >= 256
        self.lengths = [EDGE if runs else (b - a) * rows for a, b in tensor.across]
        sizes = [(b - a) * (d - c) for a, b in tensor.bands for c, d in tensor.across]
        self.lines = max(-(-n // length) for n, length in zip(sizes, self.lengths * len(tensor.bands)))
        self.marks = [[(0, 0)] * (self.lines * len(tensor.bands)), [(0, 0)] * sum(self.lengths)]

    def read(self, code, classes, leans):
        for side, (shares, none) in enumerate(zip(classes, leans)):
            if shares is None and none is None:
                continue
            tables = [0] if shares is None else table(list(shares)), [0] if none is None else table([none, (256 - none) // 2])
            self.marks[side] = [tuple(code.symbols(turn % code.lanes, *tables)) for turn in range(len(self.marks[side]))]

    def of_band(self, band):
        return self.marks[0][band * self.lines : (band + 1) * self.lines]

    def of_block(self, block):
        first = sum(self.lengths[:block])
        return self.marks[1][first : first + self.lengths[block]]

    def measure(self, values):
        """How places fall into units, and the table of segments."""
        lines, columns = ([size for size, _ in side] for side in self.marks)
        self.least = min(lines) + min(columns)
        weight = sum(1 << size for size in lines) * sum(1 << size for size in columns) >> self.least
        mean = max(8 * weight // values, 16)
        self.low = min(mean.bit_length() - 5, 14)
        self.table = min(mean >> (self.low + 1), 15) - 8

    def fields(self, band, block):
        """Octaves and elements of each field: line, column and their leanings."""
        fields = []
        for a, b in sorted(((a, b) for a in range(6) for b in range(6)), key=lambda pair: (-sum(pair), -pair[0])):
            lines = [(line, lean) for line, (size, lean) in enumerate(self.of_band(band)) if size == a]
            columns = [(column, lean) for column, (size, lean) in enumerate(self.of_block(block)) if size == b]
            if lines and columns:
                fields.append((min(a + b - self.least, self.low), [x + y for x in lines for y in columns]))
        return fields


class Walk:
    def __init__(self, fields):
        self.fields, self.rank, self.pending, self.found = fields, 0, False, []

    def step(self, code, lane, lines):
        octaves, elements = self.fields[0]
        if self.rank < len(elements):
            ones, twos = SEGMENTS[lines.table]
            shares = ones + twos
            segment = code.take(lane, [sum(shares[:s]) for s in range(len(shares) + 1)], 6)
            units = segment + max(segment - len(ones), 0)
            self.rank += units << lines.low >> octaves
            self.pending = segment < len(shares)
            bits = lines.low - octaves + (segment >= len(ones)) if self.pending else 0
            if 6 + bits > 16:
                code.refill(lane)
        else:
            self.fields = self.fields[1:]
            bits = octaves - self.fields[0][0]
            self.rank = (self.rank - len(elements)) << bits
            bits = bits if self.pending else 0
        self.rank += code.raw(lane, bits)
        elements = self.fields[0][1]
        if self.pending and self.rank < len(elements):
            self.found.append(elements[self.rank])
            self.rank, self.pending = self.rank + 1, False


def in_turn(counts, step):
    for value in range(0, max(counts), step):
        for lane, count in enumerate(counts):
            if value < count:
                yield lane, range(value, min(value + step, count))


def head(data, quantiser):
    flags, place = data[0], 1
    assert flags < 8

    def take(count):
        nonlocal place
        place += count
        return data[place - count : place]

    classes = [take(5) if flags & flag else None for flag in (1, 2)]
    leans = take(3) if flags & 4 else [None, None, 0]
    falls = take({1: 1, 2: 2, 4: 2}.get(quantiser, 0))
    return classes, leans, falls, take({2: 1, 3: 1, 4: 7}.get(quantiser, 0)), data[place:]


def entropy(data, tensor, quantiser, levels):
    if data[0] == 0xFF:
        yield from fixed(data[1:], tensor, quantiser, levels)
        return
    classes, (lean_line, lean_column, agree), falls, shares, rest = head(data, quantiser)
    chunks = [(b, c, (r[1] - r[0]) * (s[1] - s[0])) for b, r in enumerate(tensor.bands) for c, s in enumerate(tensor.across)]
    most = sum(kept(n) for _, _, n in chunks)
    code, lines = Code(rest, most), Lines(tensor)
    lines.read(code, classes, (lean_line, lean_column))
    lines.measure(most)
    left, above = None, [None] * len(tensor.across)

    def step(lane, which, guess):
        found = code.symbols(lane, steps(falls[which]))[0]
        if found == 15:
            return code.raw(lane, 11)
        return guess + (found + 1) // 2 if found % 2 else guess - found // 2

    for first in range(0, len(chunks), code.lanes):
        group = chunks[first : first + code.lanes]
        counts, scales = [], []
        for lane, (band, block, n) in enumerate(group):
            left = left if block else None
            other = code.symbols(lane, [0, 252])[0]
            counts.append(code.raw(lane, width(kept(n) + 1)) if other else kept(n))
            assert counts[-1] <= kept(n) and (quantiser != 3 or counts[-1] == kept(n))
            scales.append((0, 0))
            if counts[-1] and falls:
                known = [pair for pair in (left, above[block]) if pair]
                guess = -(-sum(high for _, high in known) // len(known)) if known else 1089
                gap = -(-sum(high - low for low, high in known) // len(known)) if known else 8
                high = step(lane, 0, guess)
                scales[-1] = (high - step(lane, 1, gap) if len(falls) > 1 else 0, high)
                left = above[block] = scales[-1]
        walks = [Walk(lines.fields(band, block)) for band, block, _ in group]
        while any(len(walk.found) < count for walk, count in zip(walks, counts)):
            for lane, (walk, count) in enumerate(zip(walks, counts)):
                if len(walk.found) < count:
                    walk.step(code, lane, lines)
        places = []
        for walk, (_, block, n) in zip(walks, group):
            length = lines.lengths[block]
            places.append(sorted((line * length + column, (one, two)) for line, one, column, two in walk.found))
            assert all(index < n for index, _ in places[-1])
        codes = [[0] * count for count in counts]
        if lean_line is None:
            for lane, values in in_turn(counts, 16):
                bits = code.raw(lane, len(values))
                for place, value in enumerate(values):
                    codes[lane][value] = bits >> place & 1
        else:
            for lane, values in in_turn(counts, 2):
                told = [places[lane][value][1] for value in values]
                found = code.symbols(lane, *([0, agree if all(pair) else 128] for pair in told))
                for value, pair, other in zip(values, told, found):
                    codes[lane][value] = other ^ (all(pair) and pair[0] != pair[1])
        if quantiser in (2, 3):
            for lane, values in in_turn(counts, 2):
                for value, bit in zip(values, code.symbols(lane, *[[0, shares[0]]] * len(values))):
                    codes[lane][value] |= bit << 1
        if quantiser == 4:
            for lane, values in in_turn(counts, 1):
                codes[lane][values[0]] |= code.symbols(lane, table(list(shares)))[0] << 1
        exact = [[0] * count for count in counts]
        if quantiser == 5:
            for lane, values in in_turn(counts, 1):
                sign, high = codes[lane][values[0]] << 31, code.raw(lane, 15) << 16
                exact[lane][values[0]] = f32_bits(sign | high | code.raw(lane, 16))
        for lane, of in enumerate(scales):
            values = dequantise(quantiser, *of, levels)
            found = exact[lane] if quantiser == 5 else [values[x] for x in codes[lane]]
            yield [(index, value) for (index, _), value in zip(places[lane], found)]
    assert not code.words and all(state == 1 << 16 for state in code.states)


def decode(data, shapes):
    version, coder, quantiser, zero, k = struct.unpack("<BBBBI", data[:8])
    assert (version, zero, k) == (4, 0, TOP_K)
    tensors, start = [Tensor(shape) for shape in shapes], 32 + 4 * len(shapes)
    lengths, rest, values = struct.unpack(f"<{len(shapes)}I", data[32:start]), data[start:], []
    for tensor, size in zip(tensors, lengths):
        section, rest = rest[:size], rest[size:]
        levels = None
        if quantiser == 3:
            levels, section = list(struct.unpack("<4f", section[:16])), section[16:]
        values.append(list((entropy if coder else fixed)(section, tensor, quantiser, levels)))
    assert not rest
    return values


def gradient(seed, length):
    """The numbers that are compressed: those of golden.rs."""
    state, whole = (seed * 0x9E3779B97F4A7C15 | 1) % 2**64, 2**64

    def uniform():
        nonlocal state
        state ^= state << 13 & whole - 1
        state ^= state >> 7
        state ^= state << 17 & whole - 1
        return (state >> 40) / 2**24 - 0.5

    return [f32(f32(uniform() * uniform()) * uniform()) for _ in range(length)]


def uneven():
    for place, value in enumerate(gradient(7, SIDE * SIDE)):
        row, column = divmod(place, SIDE)
        negative = value < 0 if place % 11 == 0 else (row % 5 < 2) != (column % 7 < 3)
        yield abs(value) * (1 << row % 3) * (1 << column % 4) * (-1 if negative else 1)


def check_marked(data):
    values, tensor = list(uneven()), Tensor((SIDE, SIDE))
    [chunks] = decode(data, [(SIDE, SIDE)])
    blocks = [(*rows, *columns) for rows in tensor.bands for columns in tensor.across]
    assert len(chunks) == len(blocks)
    moved = 0
    for (top, bottom, left, right), chunk in zip(blocks, chunks):
        block = [values[row * SIDE + column] for row in range(top, bottom) for column in range(left, right)]
        largest = sorted(range(len(block)), key=lambda index: (-abs(block[index]), index))[: kept(len(block))]
        assert [index for index, _ in chunk] == sorted(largest)
        levels = {abs(value) for _, value in chunk}
        for index, value in chunk:
            distance = abs(value - block[index])
            assert all(distance <= abs(level - abs(block[index])) * 1.0001 for level in levels)
        # Levels are means, to half a step of a scale; but where that moved the border between them past a value.
        found, sent = (sum(map(abs, numbers)) for numbers in ([value for _, value in chunk], [block[index] for index in largest]))
        moved += abs(found - sent) > sent / 32
    assert moved <= len(blocks) // 50, moved
    print(f"TwoLevels, Entropy: {len(data)} bytes, {sum(map(len, chunks))} values, lines and columns with marks")


def main():
    payloads = {}
    for row in open(os.path.join(HERE, "payloads.txt")):
        quantiser, coder, size, *content = row.split()
        if size == "small":
            payloads[quantiser, coder] = bytes.fromhex(content[0])
        if size == "marked":
            check_marked(bytes.fromhex(content[0]))
    for (quantiser, coder), data in payloads.items():
        values = decode(data, SHAPES)
        assert values == decode(payloads[quantiser, "Fixed"], SHAPES), quantiser
        print(f"{quantiser}, {coder}: {len(data)} bytes, {sum(len(chunk) for tensor in values for chunk in tensor)} values")


if __name__ == "__main__":
    main()
