"use strict";
// The magnifier and the slider. The rest of the page works without this script.
// A place is {x, y} in fractions of the photograph, in whichever image it is shown. An image's frame is the part of the photograph that it
// shows, in the same fractions. The painting shows no part of the photograph; its places are fractions of the painting.

const find = (selector) => document.querySelector(selector);
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

const views = [...document.querySelectorAll(".view")].map((element) => {
  const [x, y, width, height] = element.dataset.frame.split(" ").map(Number);
  return { element, image: element.querySelector("img"), label: element.dataset.label, frame: { x, y, width, height } };
});

// ---------------------------------------------------------------------------------------------------------------- magnifier
{
  const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const STEP = 0.02; // of the photograph, per press of an arrow key; five times that with Shift
  const UNSMOOTHED_FROM = 3; // screen pixels per image pixel

  const tools = find("#magnifier");
  const toggle = find("#magnify");
  const zooms = [...tools.elements.zoom];
  let place = { x: 0.5, y: 0.5 };
  let shown = false;
  let frameRequest = 0; // the animation frame that will draw, if any

  function draw() {
    frameRequest = 0;
    const photo = views[0].image.getBoundingClientRect();
    const diameter = Math.round(clamp(0.7 * Math.min(photo.width, photo.height), 88, 280));
    const zoom = Number(tools.elements.zoom.value);
    for (const view of views) drawLens(view, diameter, zoom);
  }

  function drawLens({ image, lens, frame }, diameter, zoom) {
    const x = (place.x - frame.x) / frame.width;
    const y = (place.y - frame.y) / frame.height;
    lens.hidden = !(shown && x >= 0 && x <= 1 && y >= 0 && y <= 1);
    if (lens.hidden) return;
    const { width, height } = image.getBoundingClientRect();
    const density = window.devicePixelRatio;
    const scale = zoom * density; // lens pixels per CSS pixel of the image
    lens.style.left = `${x * width}px`;
    lens.style.top = `${y * height}px`;
    lens.style.width = lens.style.height = `${diameter}px`;
    lens.width = lens.height = Math.round(diameter * density); // this also clears it
    const context = lens.getContext("2d");
    context.imageSmoothingEnabled = (scale * width) / image.naturalWidth < UNSMOOTHED_FROM;
    context.imageSmoothingQuality = "high";
    const middle = lens.width / 2;
    context.drawImage(image, middle - x * width * scale, middle - y * height * scale, width * scale, height * scale);
  }

  function show(next) {
    shown = Boolean(next);
    if (next) place = next;
    frameRequest ||= requestAnimationFrame(draw);
  }

  /** The place nearest to {x, y} inside a frame. */
  const within = (frame, { x, y }) => ({
    x: clamp(x, frame.x, frame.x + frame.width),
    y: clamp(y, frame.y, frame.y + frame.height),
  });

  function placeUnder(event, { element, frame }) {
    const box = element.getBoundingClientRect();
    return within(frame, {
      x: frame.x + ((event.clientX - box.left) / box.width) * frame.width,
      y: frame.y + ((event.clientY - box.top) / box.height) * frame.height,
    });
  }

  function stepZoom(by) {
    const at = zooms.findIndex((choice) => choice.checked);
    zooms[clamp(at + by, 0, zooms.length - 1)].checked = true;
  }

  function onKey(event, { frame }) {
    if (!toggle.checked || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = STEP * (event.shiftKey ? 5 : 1);
    if (event.key in KEYS) {
      const [right, down] = KEYS[event.key];
      show(within(frame, { x: place.x + right * step, y: place.y + down * step }));
    } else if (event.key === "+" || event.key === "=" || event.key === "-") {
      stepZoom(event.key === "-" ? -1 : 1);
      show(within(frame, place));
    } else if (event.key === "Escape") {
      show(null);
    } else return;
    event.preventDefault();
  }

  function onToggle() {
    document.body.classList.toggle("magnifying", toggle.checked);
    for (const { element } of views) element.tabIndex = toggle.checked ? 0 : -1;
    if (!toggle.checked) show(null);
  }

  for (const view of views) {
    const { element, label, frame } = view;
    view.lens = document.createElement("canvas");
    view.lens.className = "lens";
    view.lens.hidden = true;
    view.lens.setAttribute("aria-hidden", "true");
    element.append(view.lens);
    element.setAttribute("role", "group");
    element.setAttribute("aria-label", `Magnifier on ${label}`);
    element.setAttribute("aria-describedby", "magnifier-hint");
    for (const type of ["pointerdown", "pointermove"]) {
      element.addEventListener(type, (event) => toggle.checked && show(placeUnder(event, view)));
    }
    element.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && show(null)); // the lens stays when a finger is lifted
    element.addEventListener("focus", () => element.matches(":focus-visible") && show(within(frame, place)));
    element.addEventListener("blur", () => show(null));
    element.addEventListener("keydown", (event) => onKey(event, view));
  }
  toggle.addEventListener("change", onToggle);
  tools.addEventListener("change", () => show(shown && place));
  tools.addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("resize", () => show(shown && place));

  toggle.checked = matchMedia("(hover: hover) and (pointer: fine)").matches; // with touch, dragging has to scroll the page
  onToggle();
  tools.hidden = find("#magnifier-hint").hidden = false;
}

// ------------------------------------------------------------------------------------------------------------------- slider
{
  const section = find("#slider");
  const stage = section.querySelector(".stage");
  const split = find("#split");
  const sides = ["left", "right"].map((side) => ({ select: find(`#${side}`), image: stage.querySelector(`.${side} img`) }));

  const chosen = (side) => views[Number(side.select.value)];

  function showChosen(side) {
    const { image, frame } = chosen(side);
    side.image.src = image.src;
    side.image.alt = image.alt;
    side.image.style.left = `${100 * frame.x}%`;
    side.image.style.top = `${100 * frame.y}%`;
    side.image.style.width = `${100 * frame.width}%`;
    side.image.style.height = `${100 * frame.height}%`;
    update();
  }

  function update() {
    const [left, right] = sides.map((side) => chosen(side).label);
    stage.style.setProperty("--split", `${split.value}%`);
    split.setAttribute("aria-valuetext", `${Math.round(split.value)} % ${left}, then ${right}`);
  }

  function drag(event) {
    const box = stage.getBoundingClientRect();
    split.value = (100 * (event.clientX - box.left)) / box.width;
    update();
  }

  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    stage.setPointerCapture(event.pointerId);
    drag(event);
    split.focus({ preventScroll: true }); // so that the arrow keys continue from here
    event.preventDefault();
  });
  stage.addEventListener("pointermove", (event) => stage.hasPointerCapture(event.pointerId) && drag(event));
  split.addEventListener("input", update);
  split.addEventListener("keydown", (event) => {
    const direction = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    if (!direction || event.ctrlKey || event.metaKey || event.altKey) return;
    split.value = Number(split.value) + direction * (event.shiftKey ? 10 : 1); // the step attribute is 0.1, for smooth dragging
    update();
    event.preventDefault();
  });
  for (const side of sides) {
    side.select.addEventListener("change", () => showChosen(side));
    showChosen(side);
  }
  section.hidden = false;
}
