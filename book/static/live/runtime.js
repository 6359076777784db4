// Networks in the reader's browser: what the live pages share. Nothing that a reader draws or chooses leaves the page.

import { FILES, VERSION } from "./version.js";

const here = new URL("./", import.meta.url); // wherever the book lies on its server
const PLACES = [new URL("../ort/", here), `https://cdn.jsdelivr.net/npm/onnxruntime-web@${VERSION}/dist/`];

const once = (make) => { // kept once it has worked; after a failure the next call tries again
  let promise;
  return () => (promise ??= make().catch((error) => { promise = undefined; throw error; }));
};

let bytes = 0;
const counted = async (answer) => { // -> ArrayBuffer
  const data = await answer.arrayBuffer();
  bytes += data.byteLength;
  return data;
};

/** How many bytes this script has loaded so far: the runtime, networks, faces. */
export const loaded = () => bytes;

export const load = async (file) => { // a file beside this script -> its Response
  const answer = await fetch(new URL(file, here));
  if (!answer.ok) throw new Error(`The page could not load ${file} (${answer.status}).`);
  return new Response(await counted(answer));
};

const fetchRuntime = async (place) => {
  const files = Object.entries(FILES).map(async ([name, integrity]) => {
    const answer = await fetch(new URL(name, place), { integrity }); // refused unless it is the very file
    if (!answer.ok) throw new Error(`${answer.status}: ${answer.url}`);
    return counted(answer);
  });
  const [script, wasmBinary] = await Promise.all(files);
  const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  const ort = await import(address);
  Object.assign(ort.env.wasm, { wasmBinary, numThreads: 1 }); // more threads would need headers that plain servers do not send
  ort.env.logLevel = "error";
  return ort;
};

/** The runtime, from beside the book or else from its public address. An Error's message is meant for readers. */
export const ready = once(async () => {
  if (typeof WebAssembly !== "object") {
    throw new Error("This browser has no WebAssembly, or it is switched off, so networks cannot run in it.");
  }
  for (const place of PLACES) {
    try {
      return await fetchRuntime(place);
    } catch (error) {
      console.warn(`ONNX Runtime did not load from ${place}: ${error.message}`);
    }
  }
  throw new Error("The program that runs the networks (ONNX Runtime) could not be loaded: the connection failed, or something "
    + "blocks it.");
});

/** What tools/live.py says of the networks: name -> {title, bytes, inputs, outputs, layout, directions, ...}. */
export const models = once(async () => (await load("models.json")).json());

/** Faces to choose from: [{name, pixels: ImageData}, ...]. */
export const faces = once(async () => {
  const { size, names } = await (await load("faces.json")).json();
  const bytes = new Uint8Array(await (await load("faces.bin")).arrayBuffer());
  return names.map((name, i) => {
    const pixels = new ImageData(size, size);
    const first = i * size * size * 3;
    for (let p = 0; p < size * size; p++) {
      pixels.data.set(bytes.subarray(first + 3 * p, first + 3 * p + 3), 4 * p);
      pixels.data[4 * p + 3] = 255;
    }
    return { name, pixels };
  });
});

const sessions = new Map();

/** A network by its name in models.json, loaded once: {run, milliseconds, about}; run takes and gives Float32Arrays by name. */
export const session = (name) => {
  if (!sessions.has(name)) sessions.set(name, once(() => open(name)));
  return sessions.get(name)();
};

const open = async (name) => {
  const [ort, known] = await Promise.all([ready(), models()]);
  const about = known[name];
  if (!about) throw new Error(`There is no network called ${name} here.`);
  const data = new Uint8Array(await (await load(about.file)).arrayBuffer());
  const network = await ort.InferenceSession.create(data, {
    executionProviders: ["wasm"],
    extra: { session: { disable_quant_qdq: "1" } }, // int8 weights become float32 now, not at each run
  });
  let last = Promise.resolve();
  const opened = {
    about,
    milliseconds: 0, // of the last run
    run: (inputs) => { // one at a time: a session is not reentrant
      const answer = last.then(async () => {
        const given = Object.entries(inputs).map(([key, values]) => [key, new ort.Tensor("float32", values, about.inputs[key])]);
        const start = performance.now();
        const found = await network.run(Object.fromEntries(given));
        opened.milliseconds = performance.now() - start;
        return Object.fromEntries(Object.entries(found).map(([key, tensor]) => [key, tensor.data]));
      });
      last = answer.catch(() => {});
      return answer;
    },
  };
  return opened;
};

/** Float32Array (3, size, size) in [-1, 1] -> ImageData. */
export const toPixels = (values, size) => {
  const pixels = new ImageData(size, size);
  const plane = size * size;
  for (let p = 0; p < plane; p++) {
    for (let c = 0; c < 3; c++) pixels.data[4 * p + c] = Math.round((values[c * plane + p] + 1) * 127.5); // clamps by itself
    pixels.data[4 * p + 3] = 255;
  }
  return pixels;
};

/** ImageData -> Float32Array (3, height, width) in [-1, 1]; fromPixels and toPixels give back the same pixels. */
export const fromPixels = ({ data, width, height }) => {
  const plane = width * height;
  const values = new Float32Array(3 * plane);
  for (let p = 0; p < plane; p++) {
    for (let c = 0; c < 3; c++) values[c * plane + p] = data[4 * p + c] / 127.5 - 1;
  }
  return values;
};
