// What the network knows of styles: palettes, moments at any size, tunings; of built-in styles, own paintings and blends.

import { paletteOf } from "./colors.js";
import { parsed } from "./safetensors.js";
import { SMALLEST, fit, rung, rungsAround } from "./sizes.js";

const TAPS = ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"];
const LEAST_SIDE = 16; // pixels: of a painting whose moments are taken

/** The weighted sum of arrays. */
function sum(arrays, weights) {
  const found = new Float32Array(arrays[0].length);
  arrays.forEach((array, number) => {
    for (let index = 0; index < found.length; index++) found[index] += weights[number] * array[index];
  });
  return found;
}

/** The moments of a blend: of positions of which a share has each look. looks: {tap: {mean, covariance}} each. */
function mixed(looks, shares) {
  if (looks.length === 1) return looks[0];
  const found = {};
  for (const tap of TAPS) {
    const squares = looks.map((look) => plusProducts(look[tap].covariance, look[tap].mean, 1));
    const mean = sum(looks.map((look) => look[tap].mean), shares);
    found[tap] = { mean, covariance: plusProducts(sum(squares, shares), mean, -1) };
  }
  return found;
}

/** C + sign m m^T. */
function plusProducts(C, mean, sign) {
  const count = mean.length;
  return C.map((value, index) => value + sign * mean[Math.floor(index / count)] * mean[index % count]);
}

/** The upper triangle, row by row, as a symmetric matrix. */
function square(triangle, count) {
  const found = new Float32Array(count * count);
  let next = 0;
  for (let row = 0; row < count; row++) for (let column = row; column < count; column++) found[row * count + column] = found[column * count + row] = triangle[next++];
  return found;
}

/** A style that is stored on some rungs. */
class Stored {
  constructor(buffer) {
    const { tensors, metadata } = parsed(buffer);
    const { rungs, longest } = JSON.parse(metadata.style);
    this.longest = longest;
    this.palette = tensors.quantiles.data;
    this.tuning = tensors.tuning?.data || null;
    this.rungs = rungs;
    this.looks = rungs.map((_, row) => Object.fromEntries(TAPS.map((tap) => [tap, rowOf(tensors, tap, row)])));
  }

  async at(number) {
    const away = this.rungs.map((stored) => Math.abs(stored - number));
    return this.looks[away.indexOf(Math.min(...away))];
  }
}

function rowOf(tensors, tap, row) {
  const [mean, triangle] = ["mean", "covariance"].map((part) => {
    const { shape: [, width], data } = tensors[`${tap}/${part}`];
    return data.slice(row * width, (row + 1) * width);
  });
  return { mean, covariance: square(triangle, mean.length) };
}

/** The style of a painting, whose moments are computed when they are first asked for. */
class Painted {
  constructor(network, image, palette) {
    Object.assign(this, { network, image, palette, tuning: null, known: new Map() });
    this.longest = Math.max(...image.size, SMALLEST);
  }

  async at(number) {
    if (!this.known.has(number)) this.known.set(number, await this.computed(number));
    return this.known.get(number);
  }

  async computed(number) {
    const { network, image } = this;
    const [longer, shorter] = [Math.max(...image.size), Math.min(...image.size)];
    const size = fit(image.size, Math.max(rung(number), Math.ceil((LEAST_SIDE * longer) / shorter)));
    const found = await network.run("moments", { painting: await network.resized(image, size) });
    return Object.fromEntries(TAPS.map((tap) => [tap, { mean: found[`${tap}_mean`].data, covariance: found[`${tap}_covariance`].data }]));
  }
}

/** All styles that were asked for, by id. */
export class Looks {
  constructor(network) {
    this.network = network;
    this.styles = new Map();
  }

  has(id) {
    return this.styles.has(id);
  }

  addStored(id, buffer) {
    this.styles.set(id, new Stored(buffer));
  }

  /** image: {size, data}. */
  addPainting(id, image) {
    this.styles.set(id, new Painted(this.network, image, paletteOf(image)));
  }

  remove(id) {
    this.styles.delete(id);
  }

  /** What paints like some styles together. parts: [{id, weight}]. */
  blend(parts) {
    const used = parts.filter(({ weight }) => weight > 0);
    const total = used.reduce((all, { weight }) => all + weight, 0);
    const styles = used.map(({ id }) => this.styles.get(id));
    const shares = used.map(({ weight }) => weight / total);
    const tuned = styles.map((style, index) => [style.tuning, shares[index]]).filter(([tuning]) => tuning);
    return {
      palette: sum(styles.map((style) => style.palette), shares),
      tuning: tuned.length ? sum(tuned.map(([tuning]) => tuning), tuned.map(([, share]) => share)) : null,
      async at(longer) {
        const looks = [];
        for (const style of styles) {
          const around = rungsAround(Math.min(longer, style.longest));
          const found = [];
          for (const [number] of around) found.push(await style.at(number));
          looks.push(mixed(found, around.map(([, share]) => share)));
        }
        return mixed(looks, shares);
      },
    };
  }
}
