// The shares of a blend: a bar for two styles, a triangle with three sliders for three, sliders for four.

import { $, clamp, h, svg } from "./shared/dom.js";
import { change, editor, state } from "./state.js";
import { nameOf, pictureOf } from "./styles.js";
import { percent } from "./words.js";

const CORNERS = [[100, 10], [12, 162], [188, 162]]; // of the triangle, in a box of 200 x 172

let drawn = ""; // ids that the sliders are for
let update = () => {};

const share = (weights) => change("styles", { styles: state.styles.map((one, index) => ({ id: one.id, weight: Math.max(0, weights[index]) })) });

/** Give one style a share; the others divide the rest as before. */
function give(index, weight) {
  const rest = state.styles.reduce((sum, one, other) => sum + (other === index ? 0 : one.weight), 0);
  const others = state.styles.length - 1;
  share(state.styles.map((one, other) => (other === index ? weight : (1 - weight) * (rest > 0 ? one.weight / rest : 1 / others))));
}

const small = (id) => h("img", { src: pictureOf(id), alt: "", width: 28, height: 28 });

function bar() {
  const [a, b] = state.styles;
  const input = h("input", { type: "range", min: 0, max: 1, step: 0.01, "aria-label": `Blend of ${nameOf(a.id)} and ${nameOf(b.id)}` });
  const output = h("output", { class: "small soft" });
  input.addEventListener("input", () => share([1 - Number(input.value), Number(input.value)]));
  update = () => {
    const weights = state.styles.map((one) => one.weight);
    if (Number(input.value) !== weights[1]) input.value = weights[1];
    output.textContent = weights.map(percent).join(" : ");
    input.setAttribute("aria-valuetext", state.styles.map((one) => `${percent(one.weight)} ${nameOf(one.id)}`).join(", "));
  };
  return [h("div", { class: "line two" }, small(a.id), input, small(b.id)), output];
}

function slider(one, index) {
  const id = `share-${index}`;
  const input = h("input", { type: "range", id, min: 0, max: 1, step: 0.01 });
  const output = h("output", { for: id, class: "small" });
  input.addEventListener("input", () => give(index, Number(input.value)));
  const set = () => {
    const weight = state.styles[index].weight;
    if (Math.abs(Number(input.value) - weight) >= 0.005) input.value = weight;
    output.textContent = percent(weight);
    input.setAttribute("aria-valuetext", output.textContent);
  };
  return { set, element: h("div", { class: "share" }, small(one.id), h("label", { for: id }, h("bdi", { text: nameOf(one.id) })), output, input) };
}

/** For the pointer; the sliders below it are for the keyboard as well. */
function triangle() {
  const handle = svg("circle", { r: 9, class: "handle" });
  const picture = svg("svg", { viewBox: "0 0 200 172" }, svg("polygon", { points: CORNERS.map(String).join(" ") }), handle);
  const corners = state.styles.map((one, index) => h("img", { class: `corner c${index}`, src: pictureOf(one.id), alt: "", width: 36, height: 36, draggable: "false" }));
  const box = h("div", { class: "triangle", "aria-hidden": "true" }, picture, ...corners);
  const move = (event) => {
    const area = picture.getBoundingClientRect();
    share(barycentric((200 * (event.clientX - area.left)) / area.width, (172 * (event.clientY - area.top)) / area.height));
  };
  box.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    box.setPointerCapture(event.pointerId);
    move(event);
    event.preventDefault();
  });
  box.addEventListener("pointermove", (event) => box.hasPointerCapture(event.pointerId) && move(event));
  const set = () => {
    const at = [0, 1].map((axis) => state.styles.reduce((sum, one, index) => sum + one.weight * CORNERS[index][axis], 0));
    handle.setAttribute("cx", at[0]);
    handle.setAttribute("cy", at[1]);
  };
  return { set, element: box };
}

function barycentric(x, y) {
  const [[ax, ay], [bx, by], [cx, cy]] = CORNERS;
  const area = (by - cy) * (ax - cx) + (cx - bx) * (ay - cy);
  const a = clamp(((by - cy) * (x - cx) + (cx - bx) * (y - cy)) / area, 0, 1);
  const b = clamp(((cy - ay) * (x - cx) + (ax - cx) * (y - cy)) / area, 0, 1);
  const c = clamp(1 - a - b, 0, 1);
  const sum = a + b + c;
  return [a / sum, b / sum, c / sum];
}

function draw() {
  const box = $("blend");
  const count = state.styles.length;
  const ids = state.styles.map((one) => one.id).join(" ");
  box.hidden = count < 2;
  if (ids !== drawn) {
    drawn = ids;
    update = () => {};
    if (count < 2) box.replaceChildren();
    else if (count === 2) box.replaceChildren(...bar());
    else {
      const parts = [...(count === 3 ? [triangle()] : []), ...state.styles.map(slider)];
      box.replaceChildren(...parts.map((part) => part.element));
      update = () => parts.forEach((part) => part.set());
    }
  }
  update();
}

export function startBlend() {
  editor.on("styles", draw);
  editor.on("style-list", draw);
  draw();
}
