// The network's graphs, run by ONNX Runtime Web: on the processor (WASM), or on the graphics processor (WebGPU).

const PACKED = ".packed"; // added to the names of files that are compressed by gzip
const GRAPHS = ["resize", "moments", "modulation", "level", "finish"];
const WEIGHTS = ["instant.safetensors", "lite.safetensors"];

/** The bytes of a file of the page, unpacked. progress(bytes): called while they come. */
export async function fetched(name, progress = () => {}) {
  const answer = await fetch(new URL(name + PACKED, import.meta.url));
  if (!answer.ok) throw new Error(`The page could not load ${name}: the server answered ${answer.status}.`);
  const parts = [];
  const reader = answer.body.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    parts.push(part.value);
    progress(part.value.length);
  }
  return new Response(new Blob(parts).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

/** How a session is made for each way to compute. Only the levels are worth a graphics processor. With NHWC, onnxruntime-web 1.30
    computes a convolution of 162 channels wrong. */
const PROVIDERS = { wasm: () => ["wasm"], webgpu: (name) => [name === "level" ? { name: "webgpu", preferredLayout: "NCHW" } : "wasm"] };

export class Network {
  /** ort: the runtime. files: bytes of graphs and weights by name. on: "wasm" or "webgpu". */
  constructor(ort, files, on = "wasm") {
    Object.assign(this, { ort, files, on, sessions: new Map() });
  }

  /** Load everything. build: "wasm", or "webgpu" for the runtime that has both. */
  static async load({ build, threads, progress }) {
    const binary = build === "webgpu" ? "ort-wasm-simd-threaded.asyncify" : "ort-wasm-simd-threaded";
    const names = [...GRAPHS.map((name) => `instant-${name}.onnx`), ...WEIGHTS];
    const [ort, wasm, ...contents] = await Promise.all([
      import(`./runtime/ort.${build}.min.mjs`),
      fetched(`runtime/${binary}.wasm`, progress),
      ...names.map((name) => fetched(`network/${name}`, progress)),
    ]);
    ort.env.wasm.wasmBinary = wasm;
    ort.env.wasm.wasmPaths = { mjs: new URL(`runtime/${binary}.mjs`, import.meta.url).href };
    ort.env.wasm.numThreads = threads;
    ort.env.logLevel = "error";
    return new Network(ort, Object.fromEntries(names.map((name, index) => [name, new Uint8Array(contents[index])])));
  }

  /** The same network, computed in another way. */
  computedOn(on) {
    return new Network(this.ort, this.files, on);
  }

  async session(name) {
    if (!this.sessions.has(name)) {
      const externalData = WEIGHTS.map((path) => ({ path, data: this.files[path] }));
      const options = { executionProviders: PROVIDERS[this.on](name), externalData, logSeverityLevel: 3 };
      this.sessions.set(name, await this.ort.InferenceSession.create(this.files[`instant-${name}.onnx`], options));
    }
    return this.sessions.get(name);
  }

  async run(name, feeds) {
    return (await this.session(name)).run(feeds);
  }

  values(data, shape) {
    return new this.ort.Tensor("float32", data, shape);
  }

  number(value) {
    return this.values(Float32Array.of(value), []);
  }

  /** An image, {size, data}, as a tensor; a tensor itself. */
  tensor(image) {
    return image.dims ? image : this.values(image.data, [1, 3, ...image.size]);
  }

  /** An image or a tensor at [height, width]. */
  async resized(image, size) {
    const tensor = this.tensor(image);
    if (tensor.dims[2] === size[0] && tensor.dims[3] === size[1]) return tensor;
    const wanted = new this.ort.Tensor("int64", BigInt64Array.from(size.map(BigInt)), [2]);
    return (await this.run("resize", { image: tensor, size: wanted })).resized;
  }
}
