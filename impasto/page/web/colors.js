// The colors of images: a painting's palette, and the table that moves a photograph's colors to it. What impasto.portable.colors does.

const DIRECTIONS = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [1, 1, -1], [1, -1, 1], [-1, 1, 1]].map((along) => along.map((part) => part / Math.hypot(...along)));
const QUANTILES = 256; // of the colors along a direction
const STEPS = 8; // towards the palette
const TIED = 1e-5; // in 0..1: colors no further apart share a rank
const GRID = 17; // colors along each axis of the table
const SIDE = 48; // pixels: a photograph's colors are those of its means over squares that leave about so many
const PALETTE_SIDE = 64; // pixels: a painting's squares leave so many at least

/** The colors of an image, {size, data}, along all directions, sorted: 7xQUANTILES. */
export function paletteOf(image) {
  const rows = quantiles(averaged(image, Math.max(1, Math.floor(Math.max(...image.size) / PALETTE_SIDE))));
  return Float32Array.from(rows.flatMap((row) => [...row]));
}

/** Where each color of a grid goes, 3xGRID^3; red varies fastest. palette: 7xQUANTILES. */
export function tableOf(photo, palette) {
  const targets = DIRECTIONS.map((_, number) => palette.subarray(number * QUANTILES, (number + 1) * QUANTILES));
  let found = averaged(photo, Math.ceil(Math.max(...photo.size) / SIDE));
  let moved = [1, GRID, GRID ** 2].map((stride) => Float32Array.from({ length: GRID ** 3 }, (_, place) => (Math.floor(place / stride) % GRID) / (GRID - 1)));
  for (let step = 0; step < STEPS; step++) {
    const rows = quantiles(found);
    const wanted = rows.map((row, number) => atMiddleRanks(targets[number], row));
    [moved, found] = [pulled(moved, rows, wanted), pulled(found, rows, wanted)];
  }
  const table = new Float32Array(3 * GRID ** 3);
  moved.forEach((channel, number) => table.set(channel, number * GRID ** 3));
  return table;
}

/** The means over squares of `block` pixels, as three arrays. */
function averaged({ size: [height, width], data }, block) {
  const [down, across] = [Math.min(block, height), Math.min(block, width)];
  const [rows, columns] = [Math.floor(height / down), Math.floor(width / across)];
  return [0, 1, 2].map((channel) => {
    const found = new Float64Array(rows * columns);
    for (let y = 0; y < rows * down; y++) {
      const [from, to] = [(channel * height + y) * width, Math.floor(y / down) * columns];
      for (let x = 0; x < columns * across; x++) found[to + Math.floor(x / across)] += data[from + x];
    }
    return Float32Array.from(found, (total) => total / (down * across));
  });
}

/** Colors, three arrays, along a direction. */
const along = ([red, green, blue], [r, g, b]) => Float32Array.from(red, (value, place) => r * value + g * green[place] + b * blue[place]);

/** The values in the middle of QUANTILES equal parts along each direction, sorted. */
function quantiles(colors) {
  const count = colors[0].length;
  return DIRECTIONS.map((direction) => {
    const sorted = along(colors, direction).sort();
    return Float32Array.from({ length: QUANTILES }, (_, number) => {
      const place = Math.min(count - 1, Math.max(0, ((number + 0.5) / QUANTILES) * count - 0.5));
      const below = Math.min(count - 1, Math.floor(place));
      return sorted[below] + (place - below) * (sorted[Math.min(count - 1, below + 1)] - sorted[below]);
    });
  });
}

/** How many of the sorted values are below x; or, with `equal`, not above. */
function counted(sorted, x, equal = false) {
  let [first, last] = [0, sorted.length];
  while (first < last) {
    const middle = (first + last) >> 1;
    if (sorted[middle] < x || (equal && sorted[middle] === x)) first = middle + 1;
    else last = middle;
  }
  return first;
}

/** What sorted values are mapped to: the palette at the rank of each, and for equal values at the middle of their ranks. */
function atMiddleRanks(target, row) {
  return row.map((value) => {
    const ranks = counted(row, value - TIED) + counted(row, value + TIED, true) - 1;
    return (target[ranks >> 1] + target[(ranks + 1) >> 1]) / 2;
  });
}

/** y at x, linear between the points (xs, ys) and constant beyond them. */
function interpolated(x, xs, ys) {
  const after = Math.min(xs.length - 1, counted(xs, x));
  const before = Math.max(0, after - 1);
  const gap = xs[after] - xs[before];
  const share = gap > 0 ? Math.min(1, Math.max(0, (x - xs[before]) / gap)) : 0;
  return ys[before] + share * (ys[after] - ys[before]);
}

/** Colors after a step along all directions, by the monotonic maps from rows to wanted. */
function pulled(colors, rows, wanted) {
  const found = colors.map((channel) => channel.slice());
  DIRECTIONS.forEach((direction, number) => {
    along(colors, direction).forEach((x, place) => {
      const move = (3 / DIRECTIONS.length) * (interpolated(x, rows[number], wanted[number]) - x);
      direction.forEach((part, channel) => (found[channel][place] += part * move));
    });
  });
  return found;
}
