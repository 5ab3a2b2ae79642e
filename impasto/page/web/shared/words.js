// Numbers and names in words.

const NUMBER = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });

export const percent = (share) => `${Math.round(100 * share)} %`;
export const number = (value) => NUMBER.format(value);
export const count = (n, one, many) => `${n} ${n === 1 ? one : many}`;

export function bytes(n) {
  for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) if (n >= size) return `${NUMBER.format(Number((n / size).toPrecision(3)))} ${unit}`;
  return `${n} bytes`;
}

export function duration(seconds) {
  if (seconds < 1) return "less than a second";
  if (seconds < 90) return count(Math.round(seconds), "second", "seconds");
  if (seconds < 5400) return count(Math.round(seconds / 60), "minute", "minutes");
  return `${NUMBER.format(Math.round(seconds / 360) / 10)} hours`;
}

const LITTLE = ["of", "the", "a", "in", "on"];

function capitalized(word, index) {
  if (/^[ivx]+$/.test(word)) return word.toUpperCase();
  return index && LITTLE.includes(word) ? word : word[0].toUpperCase() + word.slice(1);
}

/** "starry-night" becomes "Starry Night"; other names stay as they are. */
export function titled(name) {
  return /^[a-z0-9]+(-[a-z0-9]+)*$/.test(name) ? name.split("-").map(capitalized).join(" ") : name;
}
