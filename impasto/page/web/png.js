// PNG files. A canvas would write transparency where there is none, and lose the colors of transparent pixels.

const SIGNATURE = Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10);
const RGB = 2;
const RGBA = 6;
const PAETH = 4; // the filter of every row

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

function crc(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = TABLE[(value ^ byte) & 0xff] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

function chunk(name, data) {
  const found = new Uint8Array(12 + data.length);
  const view = new DataView(found.buffer);
  view.setUint32(0, data.length);
  found.set(new TextEncoder().encode(name), 4);
  found.set(data, 8);
  view.setUint32(8 + data.length, crc(found.subarray(4, 8 + data.length)));
  return found;
}

/** What the filter predicts from the values to the left, above, and above that to the left. */
function predicted(left, up, corner) {
  const guess = left + up - corner;
  const [a, b, c] = [Math.abs(guess - left), Math.abs(guess - up), Math.abs(guess - corner)];
  return a <= b && a <= c ? left : b <= c ? up : corner;
}

/** The rows, each behind the number of its filter. bytes: of the pixels, `channels` each. */
function filtered(bytes, width, height, channels) {
  const row = width * channels;
  const found = new Uint8Array((row + 1) * height);
  for (let y = 0; y < height; y++) {
    const [from, to] = [y * row, y * (row + 1) + 1];
    found[to - 1] = PAETH;
    for (let x = 0; x < row; x++) {
      const left = x < channels ? 0 : bytes[from + x - channels];
      const up = y ? bytes[from + x - row] : 0;
      const corner = y && x >= channels ? bytes[from + x - row - channels] : 0;
      found[to + x] = bytes[from + x] - predicted(left, up, corner);
    }
  }
  return found;
}

/** A PNG. bytes: RGB or RGBA of the pixels, row by row. */
export async function encoded(bytes, width, height) {
  const channels = bytes.length / (width * height);
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, channels === 3 ? RGB : RGBA], 8);
  const rows = new Blob([filtered(bytes, width, height, channels)]).stream().pipeThrough(new CompressionStream("deflate"));
  const data = new Uint8Array(await new Response(rows).arrayBuffer());
  const parts = [SIGNATURE, chunk("IHDR", header), chunk("sRGB", Uint8Array.of(0)), chunk("IDAT", data), chunk("IEND", new Uint8Array())];
  return new Blob(parts, { type: "image/png" });
}
