// The page "Draw a hole, see it filled": networks fill what the reader draws. They run in this page (runtime.js). models.json
// says which there are, in which order, and at how many pixels each works; the face has as many as the finest needs.

import { element } from "./elements.js";
import { COLOUR, drawing } from "./hole.js";
import { photographs } from "./photo.js";
import { complete } from "./resample.js";
import { faces, fromPixels, loaded, models, ready, session, toPixels } from "./runtime.js";

const root = document.getElementById("completion");
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

const figure = (name, text, size) => { // one of the results: a face, and what is told of it
  const canvas = element("canvas", "", { width: size, height: size, role: "img", "data-face": name, "aria-label": text });
  const caption = element("span");
  return {
    item: element("li", "", {}, canvas, element("strong", text), caption),
    tell: (told) => { caption.textContent = told; },
    show: (pixels, told = "") => { canvas.getContext("2d").putImageData(pixels, 0, 0); caption.textContent = told; },
  };
};

const psnr = (image, filled, counts) => { // where counts is 1, of a range of 2
  let sum = 0, n = 0;
  for (let i = 0; i < image.length; i++) {
    if (!counts[i % counts.length]) continue;
    sum += (image[i] - filled[i]) ** 2;
    n++;
  }
  return n ? `${(10 * Math.log10((4 * n) / sum)).toFixed(1)} dB` : "nothing filled";
};

/** The page once the first network is there. networks: [{name, about}, ...], known: faces to choose from. */
const page = (networks, size, known) => {
  const status = element("p", "", { role: "status" });
  const say = (text) => { status.textContent = text; };
  const note = element("p", "", { class: "loaded" });
  const truth = figure("truth", "The face as it was", size);
  const results = networks.map(({ name, about }) => {
    const [height, width] = about.inputs.image.slice(2);
    const result = { name, about, title: `${about.title}, ${height}×${width}`, ready: false };
    Object.assign(result, figure(name, result.title, size));
    result.tell(`loads after the first one: ${megabytes(about.bytes)}`);
    return result;
  });

  let face = known[0].pixels; // ImageData
  let asked = 0; // how often a filling was asked for: the answer to an earlier hole is dropped

  const noteLoaded = () => {
    const missing = results.filter((result) => !result.ready);
    note.textContent = `Loaded so far: ${megabytes(loaded())}.${missing.length
      ? ` Still to come: ${megabytes(missing.reduce((sum, { about }) => sum + about.bytes, 0))}.` : ""}`;
  };

  const fillWith = async (result, image, mask) => { // -> what is told of it, or undefined where another hole was drawn
    const network = await session(result.name);
    result.ready = true;
    noteLoaded();
    return { network, ...(await complete(network, image, mask, size)) };
  };

  const fill = async () => {
    const mine = ++asked;
    const image = fromPixels(face);
    const mask = Float32Array.from(hole.mask);
    const missing = mask.reduce((sum, bit) => sum + bit, 0);
    truth.show(face);
    if (!missing) {
      for (const { show } of results) show(face);
      say("There is no hole: draw one on the face.");
      return;
    }
    const told = [];
    for (const result of results) {
      if (!result.ready && told.length) {
        say(`Answers so far: ${told.length} of ${results.length}. Loading ${result.title}, ${megabytes(result.about.bytes)} …`);
      }
      let answer;
      try {
        answer = await fillWith(result, image, mask);
      } catch (error) {
        if (mine !== asked) return;
        result.tell(error.message);
        told.push(`not by ${result.title}: ${error.message}`);
        continue;
      }
      if (mine !== asked) return;
      const { network, completed, missed } = answer;
      const pixels = toPixels(completed, size);
      missed.forEach((bit, p) => { if (bit) pixels.data.set(COLOUR, 4 * p); });
      const outside = missed.reduce((sum, bit) => sum + bit, 0);
      const likeness = psnr(image, completed, mask.map((bit, p) => bit * (1 - missed[p])));
      const time = `${Math.round(network.milliseconds)} ms`;
      const left = outside ? ` · ${Math.round((100 * outside) / missing)} % of the hole is outside of what it looks at` : "";
      result.show(pixels, `${time} · ${likeness}${left}`);
      result.item.dataset.milliseconds = network.milliseconds;
      told.push(`${result.title} in ${time}, ${likeness}`);
    }
    say(`A hole of ${Math.round((100 * missing) / mask.length)} % of the face, filled by ${told.join("; ")}.`);
  };

  const hole = drawing(size, () => fill(), say);
  const choose = (pixels) => { face = pixels; hole.show(pixels); return fill(); };
  const own = photographs(size, (pixels) => {
    for (const radio of root.querySelectorAll('[name="face"]')) radio.checked = false;
    choose(pixels);
  });

  const button = (text, act) => {
    const made = element("button", text, { type: "button" });
    made.addEventListener("click", act);
    return made;
  };

  const chooser = element("fieldset", "", { class: "faces" }, element("legend", "Face"));
  known.forEach(({ name, pixels }, i) => {
    const small = element("canvas", "", { width: size, height: size });
    small.getContext("2d").putImageData(pixels, 0, 0);
    const radio = element("input", "", { type: "radio", name: "face", "aria-label": name, ...(i ? {} : { checked: "" }) });
    radio.addEventListener("change", () => { own.hide(); choose(pixels); });
    chooser.append(element("label", "", { title: name }, radio, small));
  });

  root.addEventListener("dragover", (event) => event.preventDefault());
  root.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) own.open(event.dataTransfer.files[0]);
  });

  const list = element("ul", "", { class: "fillings", "aria-label": "What the networks put into the hole" },
    ...[truth, ...results].map(({ item }) => item));
  hole.tools.append(button("Clear", hole.clear), button("Centre hole", hole.centre));
  root.replaceChildren(hole.tools, element("div", "", { class: "hole" }, hole.canvas, list), status, hole.keys, chooser, own.panel,
    note);
  hole.show(face);
  hole.centre();
};

const start = async () => {
  const networks = Object.entries(await models()).filter(([, about]) => about.verb === "complete")
    .map(([name, about]) => ({ name, about }));
  const first = networks[0]; // the others are loaded when it has filled the first hole
  root.replaceChildren(element("p", `Loading ${first.about.title} (${megabytes(first.about.bytes)}), faces, and the program that `
    + "runs networks in a browser (ONNX Runtime) …", { role: "status" }));
  const [known] = await Promise.all([faces(), ready(), session(first.name)]);
  const size = Math.max(...networks.map(({ about }) => Math.min(...about.inputs.image.slice(2))));
  page(networks, size, known);
};

root.replaceChildren(element("p", "Looking for the networks …", { role: "status" }));
start().catch((error) => root.replaceChildren(element("p", `${error.message} The rest of this page, and the completions that `
  + "were made beforehand, do not need it.", { role: "alert" })));
