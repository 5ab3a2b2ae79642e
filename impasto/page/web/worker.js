// The worker: the network and everything large is here, so that the page never waits. client.js has the other side.
//
// A message is {call, number, ...}. The answers to it are {number, level}, any number of them, and one of {number, done},
// {number, failed} and {number, cancelled}.

import { Looks } from "./looks.js";
import { Network, fetched } from "./network.js";
import { Photo, painted } from "./painter.js";
import { canvasOf, fromBitmap, png, read } from "./pixels.js";
import { fit } from "./sizes.js";

const SHOWN = 512; // pixels: levels up to this size are shown while the next one is painted
const AGREES = 1 / 255; // mean difference between two ways to compute
const COLORS_FOR = 2000; // milliseconds for which the frames of a camera share their way to the style's colors

let network = null;
let looks = null;
let photo = null; // the photograph, as Photo, with its alpha
let filmed = { recolored: null, until: 0 }; // of a camera
const cancelled = new Set();

/** Let messages come in, such as one that cancels. */
const breathe = () =>
  new Promise((done) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = done;
    port2.postMessage(null);
  });

async function styled(styles) {
  for (const { id } of styles) if (!looks.has(id)) looks.addStored(id, await fetched(`styles/${id}.safetensors`));
  return looks.blend(styles);
}

/** A small test image, painted by a network. */
async function trial(one) {
  const size = [120, 160];
  const count = size[0] * size[1];
  const wave = (pixel, channel) => 0.5 + 0.5 * Math.sin((pixel % 160) / (7 + 9 * channel) + Math.floor(pixel / 160) / (23 - 6 * channel));
  const data = Float32Array.from({ length: 3 * count }, (_, index) => wave(index % count, Math.floor(index / count)));
  const look = await styled([{ id: "great-wave", weight: 1 }]);
  let found = null;
  for await (const { image } of painted(one, new Photo(one, { size, data }), look, { size: 192, strength: 0.5, scale: 1 })) found = image.data;
  return found;
}

/** Whether the graphics processor paints what the processor paints. */
async function agrees(other) {
  const [a, b] = [await trial(network), await trial(other)];
  return a.reduce((sum, value, index) => sum + Math.abs(value - b[index]), 0) / a.length <= AGREES;
}

const CALLS = {
  /** Load the network. gpu: whether to try the graphics processor. Gives {on}: "wasm" or "webgpu". */
  async load({ gpu, threads }, { progress }) {
    const build = gpu ? "webgpu" : "wasm";
    network = await Network.load({ build, threads, progress });
    looks = new Looks(network);
    if (!gpu) return { on: "wasm" };
    const other = network.computedOn("webgpu");
    if (await agrees(other).catch(() => false)) settle(other);
    return { on: network.on };
  },

  /** Take a photograph. Gives its size, {width, height}. */
  async photo({ blob }) {
    const image = await read(blob);
    photo = new Photo(network, image);
    photo.alpha = image.alpha && { size: image.size, data: Float32Array.from({ length: 3 * image.alpha.length }, (_, index) => image.alpha[index % image.alpha.length]) };
    return { width: image.size[1], height: image.size[0] };
  },

  /** Take a painting as a style. Gives a JPEG of at most 160 pixels. */
  async painting({ id, blob }) {
    const image = await read(blob);
    const small = await network.resized(image, fit(image.size, Math.min(160, Math.max(...image.size))));
    looks.addPainting(id, image);
    return { thumbnail: await canvasOf(small).convertToBlob({ type: "image/jpeg", quality: 0.9 }) };
  },

  async forget({ id }) {
    looks.remove(id);
  },

  /** Paint the photograph. Gives {blob, width, height, seconds, on}: a PNG, and what computed it. */
  async paint(request, { level }) {
    const began = performance.now();
    const image = await anyhow(() => painting(request, level));
    if (!image) return null;
    const [, , height, width] = image.dims;
    return { blob: await finished(image), width, height, seconds: (performance.now() - began) / 1000, on: network.on };
  },

  /** Paint a frame of a camera. Gives {bitmap}. Finding the way to a style's colors takes long, and is done now and then. */
  async frame({ bitmap, styles, options }) {
    const look = await styled(styles);
    const now = performance.now();
    const frame = new Photo(network, fromBitmap(bitmap), now < filmed.until ? filmed.recolored : null);
    bitmap.close();
    let image = null;
    await anyhow(async () => {
      for await (const one of painted(network, frame, look, options)) image = one.image;
    });
    if (frame.recolored !== filmed.recolored) filmed = { recolored: frame.recolored, until: now + COLORS_FOR };
    return { bitmap: canvasOf(image).transferToImageBitmap() };
  },

  /** Prepare what the first picture would wait for: sessions, and machine code for what is computed most. */
  async warm() {
    await trial(network);
  },
};

/** Paint with what computes now; if that is the graphics processor and it fails, with the processor from now on. */
async function anyhow(action) {
  try {
    return await action();
  } catch (error) {
    if (network.on === "wasm") throw error;
    settle(network.computedOn("wasm")); // the graphics processor has less memory, or is gone
    return action();
  }
}

/** The picture that a request of `paint` asks for; null if it was cancelled. */
async function painting({ number, styles, options, levels }, level) {
  const look = await styled(styles);
  // a thumbnail has sizes of its own: those of the photograph stay ready for the next picture
  const source = levels ? photo : new Photo(network, photo.image);
  let last = null;
  for await (const one of painted(network, source, look, options)) {
    await breathe();
    if (cancelled.delete(number)) return null;
    last = one;
    if (one.number === one.of || !levels) continue;
    const [, , height, width] = one.image.dims;
    level({ number: one.number, of: one.of, blob: Math.max(height, width) <= SHOWN ? await finished(one.image) : null });
  }
  return last.image;
}

/** Compute with a network from now on. */
function settle(chosen) {
  network = looks.network = chosen;
}

/** A picture with the photograph's transparency. */
async function finished(image) {
  return png(image, photo.alpha && (await network.resized(photo.alpha, image.dims.slice(2))));
}

const lacksMemory = (error) => error instanceof RangeError || /alloc|memory|out of bounds|Aborted|OOM/i.test(String(error?.message ?? error));

self.onmessage = async ({ data }) => {
  const { call, number } = data;
  if (call === "cancel") {
    cancelled.add(data.which);
    return;
  }
  const report = (name) => (value) => self.postMessage({ number, [name]: value });
  try {
    const done = await CALLS[call](data, { level: report("level"), progress: report("progress") });
    self.postMessage(done === null ? { number, cancelled: true } : { number, done: done ?? {} }, done?.bitmap ? [done.bitmap] : []);
  } catch (error) {
    self.postMessage({ number, failed: { message: error?.message || String(error), memory: lacksMemory(error) } });
  } finally {
    cancelled.delete(number);
  }
};
