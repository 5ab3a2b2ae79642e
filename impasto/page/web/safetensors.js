// safetensors files: the length of the header, the header as JSON, the numbers.

/** float16 as float32. */
function widened(bits) {
  const found = new Float32Array(bits.length);
  bits.forEach((value, index) => {
    const sign = value & 0x8000 ? -1 : 1;
    const exponent = (value >> 10) & 0x1f;
    const fraction = value & 0x3ff;
    if (exponent === 0) found[index] = sign * fraction * 2 ** -24;
    else if (exponent === 31) found[index] = fraction ? NaN : sign * Infinity;
    else found[index] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  });
  return found;
}

const READ = {
  F32: (buffer) => new Float32Array(buffer),
  F16: (buffer) => widened(new Uint16Array(buffer)),
};

/** The tensors by name, {shape, data} in float32, and the metadata. buffer: an ArrayBuffer with the whole file. */
export function parsed(buffer) {
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const { __metadata__: metadata = {}, ...entries } = header;
  const tensors = {};
  for (const [name, { dtype, shape, data_offsets: [first, last] }] of Object.entries(entries)) {
    tensors[name] = { shape, data: READ[dtype](buffer.slice(8 + length + first, 8 + length + last)) };
  }
  return { tensors, metadata };
}
