// Pictures as numbers and back.

import { encoded } from "./png.js";

const LARGEST = 4096; // pixels: longer side of what is read of a photograph; the browser reduces larger ones first

/**
 * A file as {size, data, alpha}: [height, width]; 3xHxW in 0..1, sRGB, upright; HxW in 0..1, or null if nothing is transparent.
 * Where nothing is seen, the color is the mean of what is seen, so that it influences nothing. longest: see LARGEST.
 */
export async function read(blob, longest = LARGEST) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, { imageOrientation: "from-image" });
  } catch {
    throw new Error("This browser cannot read the file as a picture. JPEG, PNG and WebP work everywhere.");
  }
  try {
    return fromBitmap(bitmap, longest);
  } finally {
    bitmap.close();
  }
}

/** The same of an ImageBitmap. */
export function fromBitmap(bitmap, longest = LARGEST) {
  const scale = Math.min(1, longest / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  return { ...planes(context.getImageData(0, 0, width, height).data, width * height), size: [height, width] };
}

function planes(bytes, count) {
  const data = new Float32Array(3 * count);
  let clear = false;
  for (let pixel = 0; pixel < count; pixel++) {
    for (let channel = 0; channel < 3; channel++) data[channel * count + pixel] = bytes[4 * pixel + channel] / 255;
    clear ||= bytes[4 * pixel + 3] < 255;
  }
  if (!clear) return { data, alpha: null };
  const alpha = Float32Array.from({ length: count }, (_, pixel) => bytes[4 * pixel + 3] / 255);
  fillHidden(data, alpha, count);
  return { data, alpha };
}

function fillHidden(data, alpha, count) {
  const seen = alpha.reduce((sum, value) => sum + value, 0);
  if (!seen) throw new Error("The picture is transparent everywhere.");
  for (let channel = 0; channel < 3; channel++) {
    const plane = data.subarray(channel * count, (channel + 1) * count);
    const mean = plane.reduce((sum, value, pixel) => sum + value * alpha[pixel], 0) / seen;
    for (let pixel = 0; pixel < count; pixel++) if (!alpha[pixel]) plane[pixel] = mean;
  }
}

/** The bytes of a picture, pixel by pixel. tensor: 1x3xHxW; last: the value of a fourth channel at a pixel, or null for three. */
function interleaved(tensor, last) {
  const count = tensor.dims[2] * tensor.dims[3];
  const channels = last ? 4 : 3;
  const bytes = new Uint8ClampedArray(channels * count);
  for (let pixel = 0; pixel < count; pixel++) {
    for (let channel = 0; channel < 3; channel++) bytes[channels * pixel + channel] = 255 * tensor.data[channel * count + pixel]; // rounds
    if (last) bytes[channels * pixel + 3] = last(pixel);
  }
  return bytes;
}

/** A picture as a PNG. alpha: a tensor whose first channel counts, or null. */
export function png(tensor, alpha = null) {
  return encoded(interleaved(tensor, alpha && ((pixel) => 255 * alpha.data[pixel])), tensor.dims[3], tensor.dims[2]);
}

/** A canvas with a picture. */
export function canvasOf(tensor) {
  const [, , height, width] = tensor.dims;
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d", { alpha: false }).putImageData(new ImageData(interleaved(tensor, () => 255), width, height), 0, 0);
  return canvas;
}
