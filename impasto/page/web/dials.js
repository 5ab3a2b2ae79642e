// Strength, stroke size, and the size of the picture.

import { $, h } from "./shared/dom.js";
import { ofStrength, ofStrokes, slider } from "./shared/slider.js";
import { DEFAULTS, SIZES, change, editor, state } from "./state.js";
import { fit } from "./sizes.js";

const set = (name, value) => change("options", { options: { ...state.options, [name]: value } });
const dial = (name, label, more) => slider(`dial-${name}`, label, { ...more, get: () => state.options[name], set: (value) => set(name, value) });

function sizes() {
  const hint = h("p", { class: "soft small" });
  const radios = SIZES.map((value) => h("input", { type: "radio", class: "unseen", name: "size", value, on: { change: () => set("size", value) } }));
  const labels = radios.map((radio) => h("label", {}, radio, h("span", { text: radio.value })));
  const element = h("fieldset", { class: "dial choice" }, h("legend", { text: "Size in pixels" }), h("div", { class: "segments" }, ...labels), hint);
  const update = () => {
    const { photo, options } = state;
    for (const radio of radios) radio.checked = Number(radio.value) === options.size;
    const [height, width] = photo ? fit([photo.height, photo.width], options.size) : [];
    const large = options.size > 1024 ? " Large pictures need much memory." : "";
    hint.textContent = photo ? `${width} × ${height}.${large}` : `The longer side.${large}`;
  };
  return { element, update };
}

export function startDials() {
  const all = [dial("strength", "Strength", ofStrength()), dial("scale", "Stroke size", ofStrokes()), sizes()];
  $("dials").append(...all.map(({ element }) => element));
  const update = () => {
    for (const one of all) one.update();
    $("reset").hidden = ["strength", "scale"].every((name) => state.options[name] === DEFAULTS[name]);
  };
  $("reset").addEventListener("click", () => {
    change("options", { options: { ...state.options, strength: DEFAULTS.strength, scale: DEFAULTS.scale } });
    $("dial-strength").focus();
  });
  for (const name of ["options", "photo"]) editor.on(name, update);
  update();
}
