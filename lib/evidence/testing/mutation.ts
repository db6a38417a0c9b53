/** A small repeatable source of numbers (Mulberry32): 32-bit integers below `bound`. For choosing mutations, not secrets. */
export function mulberry(seed: number): (bound: number) => number {
  let state = seed >>> 0;
  return (bound) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound;
  };
}

/** One of many ways to spoil bytes: cut off, some bytes changed, a piece taken out, doubled or moved, lengths set to extremes. */
export function mutate(bytes: Buffer, below: (bound: number) => number): Buffer {
  const copy = Buffer.from(bytes);
  if (copy.length === 0) return Buffer.of(below(256));
  const from = below(copy.length);
  const to = from + below(Math.min(copy.length - from, 64) + 1);
  const [before, piece, after] = [copy.subarray(0, from), copy.subarray(from, to), copy.subarray(to)];
  switch (below(8)) {
    case 0:
      return before;
    case 1:
      return Buffer.concat([before, after]);
    case 2:
      return Buffer.concat([before, piece, piece, after]);
    case 3:
      return Buffer.concat([copy, Buffer.from(piece)]);
    case 4:
      piece.fill(below(2) === 0 ? 0 : 0xff);
      return copy;
    default:
      for (let n = below(8); n >= 0; n--) copy[below(copy.length)] = below(256);
      return copy;
  }
}

/** The bytes with one of them changed: every bit pattern of it comes up over many positions. */
export function flipped(bytes: Buffer, index: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[index] = (copy[index] ?? 0) ^ (1 << (index % 8));
  return copy;
}
