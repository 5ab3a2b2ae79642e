// The reference of the HTTP API, from the server's own description of it.

import { $, h, problem } from "./dom.js";

const METHODS = ["get", "post", "put", "delete"];
let schemas = {};

const named = ($ref) => $ref.split("/").at(-1);
const full = (schema) => schemas[named(schema?.$ref || "")] || schema || {};

/** A type in words: "integer, 16 to 2048". */
function type(schema) {
  if (schema.$ref) return named(schema.$ref);
  const options = schema.anyOf || schema.oneOf;
  if (options) return options.map(type).join(" or ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(", ");
  if (schema.type === "array") return `list of ${type(schema.items || {})}`;
  const [low, high] = [schema.minimum, schema.maximum];
  const limits = [low !== undefined && `from ${low}`, high !== undefined && `to ${high}`].filter(Boolean).join(" ");
  const name = schema.format === "binary" || schema.contentMediaType ? "file" : schema.type || "anything";
  return limits ? `${name} ${limits}` : name;
}

function row(name, schema, required, about) {
  const text = [type(schema), required ? "required" : schema.default !== undefined && `default ${JSON.stringify(schema.default)}`];
  return h("div", {}, h("dt", {}, h("code", { text: name })), h("dd", { text: [text.filter(Boolean).join("; "), about].filter(Boolean).join(". ") }));
}

function fields(schema) {
  const { properties = {}, required = [] } = full(schema);
  return Object.entries(properties).map(([name, one]) => row(name, one, required.includes(name), one.description));
}

/** A value that a field may have. */
function example(name, schema) {
  const found = full(schema);
  if (found.default !== undefined) return found.default;
  if (found.enum) return found.enum[0];
  if (found.type === "array") return [];
  if (found.type === "object") return Object.fromEntries((found.required || []).map((one) => [one, example(one, found.properties[one])]));
  if (found.type === "integer" || found.type === "number") return found.minimum ?? 1;
  return name.toUpperCase();
}

function curl(method, path, content = {}, parameters = []) {
  const words = ["curl -sf", '-H "Authorization: Bearer $TOKEN"'];
  if (method !== "get") words.push(`-X ${method.toUpperCase()}`);
  if (content["multipart/form-data"]) words.push("-F file=@photo.jpg");
  if (content["application/json"]) {
    const schema = content["application/json"].schema;
    const body = example("", schema);
    if (full(schema).properties?.styles) body.styles = [{ id: "starry-night" }];
    words.push("-H 'Content-Type: application/json'", `-d '${JSON.stringify(body)}'`);
  }
  words.push(`"${location.origin}${path.replace(/\{(\w+)\}/g, (_, name) => parameters.find((one) => one.name === name)?.schema.enum?.[0] || "$ID")}"`);
  return words.join(" \\\n  ");
}

function call(path, method, found) {
  const { content } = found.requestBody || {};
  const body = Object.values(content || {})[0]?.schema;
  const about = full(body).description;
  const rows = [...(found.parameters || []).map((one) => row(one.name, one.schema, one.required, one.description)), ...(body ? fields(body) : [])];
  const answers = Object.entries(found.responses).filter(([code]) => code < 400);
  const gives = answers.map(([code, { content: given = {} }]) => {
    const [kind, one] = Object.entries(given).at(-1) || [];
    return !kind ? code : `${code}, ${one.schema?.$ref ? named(one.schema.$ref) : kind}`;
  });
  return h(
    "section",
    { class: "call" },
    h("h2", {}, h("code", { class: "method", text: method.toUpperCase() }), " ", h("code", { text: path })),
    h("p", { text: found.description || found.summary }),
    about ? h("p", { class: "soft small", text: about }) : null,
    rows.length ? h("dl", {}, ...rows) : null,
    h("p", { class: "soft small", text: `Answer: ${gives.join("; ")}` }),
    h("pre", { tabindex: 0 }, h("code", { text: curl(method, path, content, found.parameters) })),
  );
}

async function start() {
  const answer = await fetch("/api/openapi.json", { credentials: "same-origin" });
  if (answer.status === 401) throw new Error("Open the studio with the address that impasto studio printed, then come back.");
  const { paths, components } = await answer.json();
  schemas = components.schemas;
  const calls = Object.entries(paths).flatMap(([path, found]) => METHODS.filter((method) => found[method]).map((method) => call(path, method, found[method])));
  const shapes = ["Job", "Image", "Style", "Weighted", "Masked", "Problem"].filter((name) => schemas[name]);
  const parts = shapes.map((name) => h("section", { class: "call" }, h("h2", {}, h("code", { text: name })), h("p", { text: schemas[name].description }), h("dl", {}, ...fields(schemas[name]))));
  $("calls").replaceChildren(...calls, ...parts);
}

start().catch((error) => problem($("problem"), error));
