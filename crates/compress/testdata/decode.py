"""A second reader of payloads, written from docs/payload.md alone and in nothing but Python: it decodes the small payloads
of payloads.txt and checks that the fixed and the entropy-coded ones carry the same values.

Usage: python decode.py. The table of priors is read from the crate; everything else stands here.
"""

import os
import re
import struct

HERE = os.path.dirname(os.path.abspath(__file__))
EDGE, TOP_K, SHAPES = 8, 6, [(24, 16), (9,), (5, 12)]
SLOTS, SECTION = 2048, 1 << 24


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def f32_bits(bits):
    return struct.unpack("<f", struct.pack("<I", bits))[0]


def bits_f32(x):
    return struct.unpack("<I", struct.pack("<f", x))[0]


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
    step = f32((high - low) / 7)
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
        lanes = 8 if values > 4096 else 1
        self.states = list(struct.unpack(f"<{lanes}I", data[: 4 * lanes]))
        self.words = list(struct.unpack(f"<{(len(data) - 4 * lanes) // 2}H", data[4 * lanes :]))[::-1]
        assert all(state >= 1 << 16 for state in self.states)

    def phase(self, symbols):
        """Each symbol is a function from a slot to (value, start, end)."""
        found = []
        for turn, symbol in enumerate(symbols):
            lane = turn % len(self.states)
            x = self.states[lane]
            value, start, end = symbol(x % SLOTS)
            x = (end - start) * (x >> 11) + x % SLOTS - start
            self.states[lane] = x << 16 | self.words.pop() if x < 1 << 16 else x
            found.append(value)
        return found

    def raw(self, bits, count=1):
        share = SLOTS >> bits
        return self.phase([lambda y: (y // share, y // share * share, (y // share + 1) * share)] * count)

    def number(self, bits):
        high = self.raw(max(bits - 11, 0))[0]
        return high << 11 | self.raw(min(bits, 11))[0]


def search(starts, slot):
    value = max(s for s, start in enumerate(starts) if start <= slot)
    return value, starts[value], (starts + [SLOTS])[value + 1]


class Table:
    def __init__(self, prior):
        self.counts = list(prior)
        self.settle()

    def settle(self):
        n, total, self.starts, start = len(self.counts), sum(self.counts), [], 0
        for count in self.counts:
            self.starts.append(start)
            start += 1 + (count * (((SLOTS - n) << 32) // total) >> 32)

    def symbol(self):
        def read(slot):
            found = search(self.starts, slot)
            self.counts[found[0]] += 16
            return found

        return read


def poisson():
    source = open(os.path.join(HERE, "../src/codec/model/lines.rs")).read()
    rows = re.findall(r"\[([\d, ]{40,})\]", source[source.index("const POISSON") :])
    return [[int(x) for x in row.split(",")] for row in rows]


def lg(x):
    return (bits_f32(float(x)) >> 19) - 2032


def sign_of(x, sign):
    return -x if sign else x


def entropy(data, tensor, quantiser, levels):
    if data[0] == 0xFF:
        yield from fixed(data[1:], tensor, quantiser, levels)
        return
    line_prior, column_prior = 1 << data[0] % 8, 1 << data[0] // 8
    sizes = [[(b - a) * (d - c) for c, d in tensor.across] for a, b in tensor.bands]
    code = Code(data[1:], sum(kept(n) for row in sizes for n in row))
    w = tensor.columns // len(tensor.across)
    runs = w > 2 * EDGE or w >= 256
    rows = max(1, -(-(EDGE // 2) // w))
    length = lambda c: EDGE if runs else (tensor.across[c][1] - tensor.across[c][0]) * rows
    seen = [[0] * length(c) for c in range(len(tensor.across))]
    column_lean = [[0] * length(c) for c in range(len(tensor.across))]

    def column_tables():
        tables = []
        for counts in seen:
            n, weights = len(counts), [column_prior + 2 * s for s in counts]
            unit, made = (SLOTS << 32) // sum(weights), []
            for m in (1, 2, 3):
                starts, before = [], 0
                for column, weight in enumerate(weights):
                    p, tail = SLOTS, SLOTS - (before * unit >> 32)
                    for _ in range(m):
                        p = p * tail >> 11
                    starts.append(column + ((SLOTS - n) * (SLOTS - p) >> 11))
                    before += weight
                made.append(starts)
            tables.append(made)
        return tables

    columns = column_tables()
    steps = [64 >> s // 3 for s in range(16)]
    full, high_table, gap_table = Table([60, 4]), Table(steps), Table(steps)
    quads = Table([[57, 26, 12, 5, 2][bin(s).count("1")] for s in range(16)]) if quantiser != 4 else Table([16] * 8)
    line_tables = [Table(prior) for prior in poisson()]
    contexts, borders = {}, {}

    def settle_signs():
        for i in range(6):
            for j in range(6):
                a, b = contexts.setdefault((i, j), [64, 64])
                borders[i, j] = 1 + 2046 * a // (a + b)

    settle_signs()
    above, number = [None] * len(tensor.across), 0

    def step(table, guess):
        symbol = code.phase([table.symbol()])[0]
        if symbol == 15:
            return code.number(11)
        return guess + (symbol + 1) // 2 if symbol % 2 else guess - symbol // 2

    for b, (first, last) in enumerate(tensor.bands, 1):
        left_scale, entries = None, []
        lines_most = max(-(-n // length(c)) for row in sizes for c, n in enumerate(row))
        weights, lean = [line_prior] * lines_most, [0] * lines_most
        for c in range(len(tensor.across)):
            n, size = length(c), sizes[b - 1][c]
            lines, number, chunk = -(-size // n), number + 1, []
            count = kept(size)
            if code.phase([full.symbol()])[0]:
                count = code.number(width(kept(size) + 1))
            if count:
                low = high = 0
                if quantiser in (1, 2, 4):
                    known = [s for s in (left_scale, above[c]) if s]
                    mean = lambda of: (sum(map(of, known)) + 1) // 2 if len(known) == 2 else of(known[0])
                    high = step(high_table, mean(lambda s: s[1]) if known else 1089)
                    if quantiser != 1:
                        low = high - step(gap_table, mean(lambda s: s[1] - s[0]) if known else 8)
                    left_scale = above[c] = (low, high)
                held, line, left = [0] * lines, 0, count
                while line < lines - 1 and left > 0:
                    group = range(line, min(line + 16, lines - 1))
                    expected = lg(64 * left) - lg(sum(weights[line:lines]))
                    tables = [max(0, min(23, (expected + lg(weights[l])) >> 3)) for l in group]
                    for l, value in zip(group, code.phase([line_tables[t].symbol() for t in tables])):
                        held[l] = value
                    for l in group:
                        held[l] += code.number(width(n)) if held[l] == 15 else 0
                    for l in group:
                        weights[l] = min(weights[l] + 2 * held[l], 1 << 14)
                        left -= held[l]
                    line = group.stop
                held[lines - 1] += left
                weights[lines - 1] = min(weights[lines - 1] + 2 * left, 1 << 14)
                places = [[] for _ in range(lines)]
                while any(len(p) < h for p, h in zip(places, held)):
                    todo = [l for l in range(lines) if len(places[l]) < held[l]]

                    def place(l):
                        starts = columns[c][min(3, held[l] - len(places[l])) - 1]
                        start_of = places[l][-1] + 1 if places[l] else 0
                        base = starts[start_of]
                        room = SLOTS - base

                        def read(y):
                            column, s, e = search(starts, base + (y * room >> 11))
                            return column, -((base - s) * SLOTS // room), -((base - e) * SLOTS // room)

                        return read

                    for l, column in zip(todo, code.phase([place(l) for l in todo])):
                        places[l].append(column)
                        seen[c][column] = min(seen[c][column] + 1, 4096)
                spots = [(l, column) for l in range(lines) for column in places[l]]

                def sign(l, column):
                    of_line, of_column = lean[l], column_lean[c][column]
                    key = (min(5, abs(of_line).bit_length()), min(5, abs(of_column).bit_length()))
                    expected, border = (of_line < 0) != (of_column < 0), borders[key]

                    def read(y):
                        surprise = y >= border
                        contexts[key][surprise] += 16
                        return int(surprise != expected), *((border, SLOTS) if surprise else (0, border))

                    return read

                codes = code.phase([sign(*spot) for spot in spots])
                signs = list(codes)
                for (l, column), s in zip(spots, signs):
                    lean[l] += sign_of(max(-4, min(4, column_lean[c][column])), s)
                    entries.append((l, c, column, s))
                values = []
                if quantiser in (2, 3):
                    found = code.phase([quads.symbol() for _ in range(count // 4)])
                    rest = code.raw(count % 4)[0] if count % 4 else 0
                    bits = [f >> i & 1 for f in found for i in range(4)] + [rest >> i & 1 for i in range(count % 4)]
                    codes = [s | bit << 1 for s, bit in zip(codes, bits)]
                elif quantiser == 4:
                    codes = [s | m << 1 for s, m in zip(codes, code.phase([quads.symbol() for _ in spots]))]
                elif quantiser == 5:
                    pieces = zip(code.raw(11, count), code.raw(10, count), code.raw(10, count))
                    values = [f32_bits(s << 31 | x << 20 | y << 10 | z) for s, (x, y, z) in zip(codes, pieces)]
                if quantiser != 5:
                    table = dequantise(quantiser, low, high, levels)
                    values = [table[x] for x in codes]
                chunk = [(l * n + column, value) for (l, column), value in zip(spots, values)]
            if number % (1 << min(max(number.bit_length() - 2, 0), 5)) == 0:
                for table in [full, high_table, gap_table, quads, *line_tables]:
                    table.settle()
                settle_signs()
            if runs:
                weights, lean = [line_prior] * lines_most, [0] * lines_most
            yield chunk
        if b % (1 << max(b.bit_length() - 2, 0)) == 0:
            columns = column_tables()
        for round in range(3 if b == 1 else 1):
            if b == 1:
                for l, c, column, s in entries:
                    # The columns that vote are those of the round before; at first they do not lean.
                    lean[l] += sign_of(max(-4, min(4, column_lean[c][column])), s)
                column_lean = [[0] * len(of) for of in column_lean]
            lean = [max(-2, min(2, x)) or 1 for x in lean]
            for l, c, column, s in entries:
                column_lean[c][column] += sign_of(lean[l], s)
            column_lean = [[max(-(1 << 14), min(1 << 14, x)) for x in of] for of in column_lean]
    assert all(state == 1 << 16 for state in code.states) and not code.words


def decode(data):
    version, coder, quantiser, zero, k = struct.unpack("<BBBBI", data[:8])
    assert (version, zero, k) == (2, 0, TOP_K)
    tensors = [Tensor(shape) for shape in SHAPES]
    lengths, rest, values = struct.unpack("<3I", data[32:44]), data[44:], []
    for tensor, size in zip(tensors, lengths):
        section, rest = rest[:size], rest[size:]
        levels = None
        if quantiser == 3:
            levels, section = list(struct.unpack("<4f", section[:16])), section[16:]
        values.append(list((entropy if coder else fixed)(section, tensor, quantiser, levels)))
    assert not rest
    return values


payloads = {}
for row in open(os.path.join(HERE, "payloads.txt")):
    quantiser, coder, size, *content = row.split()
    if size == "small":
        payloads[quantiser, coder] = bytes.fromhex(content[0])
coded = 0
for (quantiser, coder), data in payloads.items():
    assert decode(data) == decode(payloads[quantiser, "Fixed"]), quantiser
    selected = sum(len(chunk) for tensor in decode(data) for chunk in tensor)
    print(f"{quantiser}, {coder}: {len(data)} bytes, {selected} values")
