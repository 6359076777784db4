// The page "Draw a hole, see it filled": three networks fill what the reader draws. They run in this page (runtime.js).

import { element } from "./elements.js";
import { drawing } from "./hole.js";
import { photographs } from "./photo.js";
import { faces, fromPixels, ready, session, toPixels } from "./runtime.js";

const METHODS = { glcic: "GLCIC", context_encoder: "Context encoder", denoising: "Denoising autoencoder" };
const SIZE = 64; // of a face, in pixels

const root = document.getElementById("completion");
const status = element("p", "", { role: "status" });
const say = (text) => { status.textContent = text; };

const figure = (name, text) => { // one of the results: a face, and what is told of it
  const canvas = element("canvas", "", { width: SIZE, height: SIZE, role: "img", "data-face": name, "aria-label": text });
  const caption = element("span");
  return {
    item: element("li", "", {}, canvas, element("strong", text), caption),
    show: (pixels, told = "") => { canvas.getContext("2d").putImageData(pixels, 0, 0); caption.textContent = told; },
  };
};
const truth = figure("truth", "The face as it was");
const results = Object.fromEntries(Object.entries(METHODS).map(([name, text]) => [name, figure(name, text)]));

let face = null; // ImageData
let asked = 0; // how often a filling was asked for: the answer to an earlier hole is dropped

const psnr = (image, filled, mask) => { // in the hole, of a range of 2
  let sum = 0, n = 0;
  for (let i = 0; i < image.length; i++) {
    if (!mask[i % mask.length]) continue;
    sum += (image[i] - filled[i]) ** 2;
    n++;
  }
  return 10 * Math.log10((4 * n) / sum);
};

const fill = async () => {
  const mine = ++asked;
  const image = fromPixels(face);
  const mask = Float32Array.from(hole.mask);
  const missing = mask.reduce((sum, bit) => sum + bit, 0);
  truth.show(face);
  if (!missing) {
    for (const { show } of Object.values(results)) show(face);
    say("There is no hole: draw one on the face.");
    return;
  }
  const told = [];
  try {
    for (const [name, text] of Object.entries(METHODS)) {
      const network = await session(name);
      const { completed } = await network.run({ image, mask });
      if (mine !== asked) return;
      const [time, likeness] = [Math.round(network.milliseconds), psnr(image, completed, mask).toFixed(1)];
      results[name].show(toPixels(completed, SIZE), `${time} ms · ${likeness} dB`);
      results[name].item.dataset.milliseconds = network.milliseconds;
      told.push(`${text} in ${time} ms, ${likeness} dB`);
    }
  } catch (error) {
    say(error.message);
    return;
  }
  say(`A hole of ${Math.round((100 * missing) / mask.length)} % of the face, filled by ${told.join("; ")}.`);
};

const hole = drawing(SIZE, () => fill(), say);
const choose = (pixels) => { face = pixels; hole.show(pixels); return fill(); };
const own = photographs(SIZE, (pixels) => {
  for (const radio of root.querySelectorAll('[name="face"]')) radio.checked = false;
  choose(pixels);
});

const button = (text, act) => {
  const made = element("button", text, { type: "button" });
  made.addEventListener("click", act);
  return made;
};

const chooser = (known) => {
  const group = element("fieldset", "", { class: "faces" }, element("legend", "Face"));
  known.forEach(({ name, pixels }, i) => {
    const small = element("canvas", "", { width: SIZE, height: SIZE });
    small.getContext("2d").putImageData(pixels, 0, 0);
    const radio = element("input", "", { type: "radio", name: "face", "aria-label": name, ...(i ? {} : { checked: "" }) });
    radio.addEventListener("change", () => { own.hide(); choose(pixels); });
    group.append(element("label", "", { title: name }, radio, small));
  });
  return group;
};

const start = async () => {
  const [known] = await Promise.all([faces(), ready()]);
  const list = element("ul", "", { class: "fillings", "aria-label": "Filled by three networks" },
    ...[truth, ...Object.values(results)].map(({ item }) => item));
  hole.tools.append(button("Clear", hole.clear), button("Centre hole", hole.centre));
  root.replaceChildren(hole.tools, element("div", "", { class: "hole" }, hole.canvas, list), status, hole.keys, chooser(known),
    own.panel);
  hole.show(known[0].pixels);
  face = known[0].pixels;
  hole.centre();
};

root.addEventListener("dragover", (event) => event.preventDefault());
root.addEventListener("drop", (event) => {
  event.preventDefault();
  if (event.dataTransfer.files.length) own.open(event.dataTransfer.files[0]);
});

root.replaceChildren(element("p", "Loading the networks, about 20 MB the first time …", { role: "status" }));
start().catch((error) => root.replaceChildren(element("p", `${error.message} The rest of this page, and the completions that `
  + "were made beforehand, do not need it.", { role: "alert" })));
