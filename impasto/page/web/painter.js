// The instant painter, level by level from coarse to fine; what impasto.fast.painter does with torch.

import { tableOf } from "./colors.js";
import { SMALLEST, fit, levelSizes } from "./sizes.js";

const SEEN = ["relu1_1", "relu2_1", "relu3_1", "relu4_1"]; // taps of which a level takes the style's moments
const FAINT = 0.1; // strength below which the result fades into the photograph

/** The strength that the network gets: less in the middle. */
const forNetwork = (strength) => strength * (0.36 + 0.64 * strength);

/** The moments of taps as inputs of a graph. */
function inputs(network, look, taps) {
  const found = {};
  for (const tap of taps) {
    const { mean, covariance } = look[tap];
    found[`${tap}_mean`] = network.values(mean, [mean.length]);
    found[`${tap}_covariance`] = network.values(covariance, [mean.length, mean.length]);
  }
  return found;
}

const same = (a, b) => a.length === b.length && a.every((value, index) => value === b[index]);

/** A photograph's sizes and its way to a style's colors, which many pictures of it share. */
export class Photo {
  /** image: {size, data}, 3xHxW in 0..1. recolored: {palette, table} where the table for a palette is known. */
  constructor(network, image, recolored = null) {
    Object.assign(this, { network, image, recolored, made: new Map() });
  }

  /** The table that moves the photograph's colors to a palette. */
  table(palette) {
    if (!this.recolored || !same(this.recolored.palette, palette)) this.recolored = { palette, table: tableOf(this.image, palette) };
    return this.network.values(this.recolored.table, [3, this.recolored.table.length / 3]);
  }

  get size() {
    return this.image.size;
  }

  /** The photograph at every level up to a size, the smallest first; each is made from the one above. */
  async levels(size) {
    const key = size.join();
    if (!this.made.has(key)) {
      this.made.clear(); // one size at a time is enough, and sizes take memory
      const found = [];
      for (const one of [...levelSizes(size)].reverse()) found.unshift(await this.network.resized(found[0] || this.image, one));
      this.made.set(key, found);
    }
    return this.made.get(key);
  }

  /** The photograph itself at a size. */
  async at(size) {
    return (await this.levels(size)).at(-1);
  }
}

/**
 * Paint. Yields {number, of, image} after every level; the last image is the result, a tensor 1x3xHxW.
 * look: of `Looks.blend`. size: longer side in pixels. strength: 0..1. scale: of strokes.
 */
export async function* painted(network, photo, look, { size, strength, scale }) {
  const final = fit(photo.size, size);
  if (!strength) {
    yield { number: 1, of: 1, image: await photo.at(final) };
    return;
  }
  const photos = await photo.levels(final);
  const palette = network.values(look.palette, [7, look.palette.length / 7]);
  const share = network.number(Math.min(1, 2 * strength));
  const fade = network.number(Math.min(1, strength / FAINT));
  const table = photo.table(look.palette);
  let [below, smaller] = [photos[0], photos[0]];
  for (const [index, level] of photos.entries()) {
    const side = Math.max(level.dims[2], level.dims[3]);
    const longer = side * scale;
    const dials = { palette, side: network.number(side), strength: network.number(forNetwork(strength)) };
    const all = Object.keys(await look.at(longer));
    const { modulation } = await network.run("modulation", { ...dials, ...inputs(network, await look.at(longer), all) });
    if (look.tuning) look.tuning.forEach((value, place) => (modulation.data[place] += value));
    const style = inputs(network, await look.at(Math.max(longer / 2, SMALLEST)), SEEN);
    const found = await network.run("level", { photo: level, table, share, below, smaller, modulation, fade, ...style });
    [below, smaller] = [found.image, found.colored];
    const last = index === photos.length - 1;
    const image = last ? (await network.run("finish", { image: below, palette, share })).finished : below;
    yield { number: index + 1, of: photos.length, image };
  }
}
