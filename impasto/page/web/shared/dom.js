// Elements. Data becomes text only: nothing here parses HTML.

export const $ = (id) => document.getElementById(id);
export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
export const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

/** An element. Properties: text, class, data (dataset), on (listeners), else attributes; true and false set and leave out an attribute. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "text") element.textContent = value;
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "on") for (const [type, listener] of Object.entries(value)) element.addEventListener(type, listener);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export const icon = (name) => svg("svg", { class: "icon", "aria-hidden": "true" }, svg("use", { href: `#i-${name}` }));

/** A button. look: its classes. An icon alone needs a label. */
export function button(text, action, { look = "", image = "", label = null, title = null } = {}) {
  return h("button", { type: "button", class: look, "aria-label": label, title, on: { click: action } }, image ? icon(image) : null, text);
}

/** Show an error where it arose; nothing hides the line. */
export function problem(element, error) {
  const text = error ? error.message || String(error) : "";
  if (element.textContent !== text) element.textContent = text;
  element.hidden = !text;
}

/** Tell screen readers. */
export function say(text) {
  $("say").textContent = text;
}

/** Run an action of a button once at a time; an error is shown in `place`. */
export async function act(element, place, action) {
  if (element.getAttribute("aria-busy")) return undefined;
  problem(place, null);
  element.setAttribute("aria-busy", "true");
  try {
    return await action();
  } catch (error) {
    problem(place, error);
    return undefined;
  } finally {
    element.removeAttribute("aria-busy");
  }
}

/** Ask before something is lost. */
export function ask(text, yes) {
  const dialog = $("ask");
  $("ask-text").textContent = text;
  $("ask-yes").textContent = yes;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((done) => dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true }));
}

/** Close a dialog by its button, or by a click outside that also began outside. */
export function closable(dialog, closer) {
  let began = false;
  const outside = ({ target, clientX: x, clientY: y }) => {
    const area = dialog.getBoundingClientRect();
    return target === dialog && (x < area.left || x > area.right || y < area.top || y > area.bottom);
  };
  closer.addEventListener("click", () => dialog.close());
  dialog.addEventListener("pointerdown", (event) => (began = outside(event)));
  dialog.addEventListener("click", (event) => began && outside(event) && dialog.close());
}

/** Listeners by name: on(name, listener), emit(name, value). */
export function bus() {
  const listeners = new Map();
  return {
    on(name, listener) {
      listeners.set(name, [...(listeners.get(name) || []), listener]);
    },
    emit(name, value) {
      for (const listener of listeners.get(name) || []) listener(value);
    },
  };
}
