// A range with its label, and the value in words.

import { clamp, h } from "./dom.js";
import { number, percent } from "./words.js";

/**
 * Returns {element, place, update}: place for an error; update() after a change from elsewhere.
 * at, value: from the value to the slider's position and back. shown: the value in words. get, set: the value itself.
 */
export function slider(id, label, { min, max, step, at = (x) => x, value = (x) => x, shown, ends, title, get, set }) {
  const output = h("output", { for: id });
  const input = h("input", { type: "range", id, min, max, step, "aria-describedby": `${id}-problem` });
  const place = h("p", { class: "problem", id: `${id}-problem`, role: "alert", hidden: true });
  const update = () => {
    if (document.activeElement !== input || Number(input.value) !== at(get())) input.value = at(get());
    output.textContent = shown(get());
    input.setAttribute("aria-valuetext", output.textContent);
  };
  input.addEventListener("input", () => {
    const next = value(Number(input.value));
    if (next !== get()) set(next);
  });
  const marks = ends ? h("p", { class: "ends", "aria-hidden": "true" }, h("span", { text: ends[0] }), h("span", { text: ends[1] })) : null;
  return { element: h("div", { class: "dial", title }, h("label", { for: id, text: label }), output, input, marks, place), place, update };
}

export const ofStrength = ({ minimum = 0, maximum = 1 } = {}) => ({ min: minimum, max: maximum, step: 0.01, shown: percent });

/** On a logarithmic scale: half and double are equally far from 1. */
export const ofStrokes = ({ minimum = 0.25, maximum = 4 } = {}) => ({
  min: Math.log2(minimum),
  max: Math.log2(maximum),
  step: 0.05,
  at: (scale) => Number(Math.log2(scale).toFixed(2)),
  value: (x) => clamp(Number((2 ** x).toFixed(3)), minimum, maximum),
  shown: (scale) => `${number(Number(scale.toPrecision(2)))} ×`,
  ends: ["Finer", "Broader"],
});
