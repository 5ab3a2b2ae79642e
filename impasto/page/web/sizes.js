// Sizes of images, and the ladder of scales on which styles are known; as impasto.ladder has them.

const COARSEST = 128; // pixels: longer side of rung 0
const RATIO = Math.SQRT2; // between neighboring rungs
const ON_A_RUNG = 0.01; // of the distance between rungs
const FIRST_LEVEL = 96; // pixels: least longer side of the first level
export const SMALLEST = 64; // pixels: the smallest rung on which a style is known

/** The longer side in pixels of a rung: 128, 181, 256, 362, 512, ... from 0. */
export const rung = (number) => Math.max(1, Math.round(COARSEST * RATIO ** number));

/** Where a longer side lies on the ladder, in rungs. */
export function position(longer) {
  const found = Math.log(longer / COARSEST) / Math.log(RATIO);
  return Math.abs(found - Math.round(found)) < ON_A_RUNG ? Math.round(found) : found;
}

/** The rungs around a longer side, [number, share] each. */
export function rungsAround(longer) {
  const place = position(longer);
  const below = Math.floor(place);
  const above = place - below;
  return above ? [[below, 1 - above], [below + 1, above]] : [[below, 1]];
}

/** The [height, width] nearest to the aspect ratio of a size whose longer side is `longer`. */
export function fit(size, longer) {
  const long = Math.max(...size);
  return size.map((side) => Math.max(1, Math.floor((2 * side * longer + long) / (2 * long))));
}

/** The sizes of the levels up to a size, each twice the one below. */
export function levelSizes(size) {
  const longer = [Math.max(...size)];
  while (longer.at(-1) >= 2 * FIRST_LEVEL) longer.push(Math.floor(longer.at(-1) / 2));
  return longer.reverse().map((side) => fit(size, side));
}
