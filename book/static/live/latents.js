// The page "Move a face": sliders for what a generator's latents mean. infogan's generator runs in this page (runtime.js);
// nothing is sent. What is on show follows from the controls alone, so the way back leads to the very same pixels.

import { drawLatents } from "./draw_latents.js";
import { element } from "./elements.js";
import { load, models, session, toPixels } from "./runtime.js";

const root = document.getElementById("latents");
const MOST = 3; // of an attribute: three times the way from faces without it to faces with it
const KEPT = 20; // of how many faces the time is the middle

const signed = (value) => (value > 0 ? "+" : value < 0 ? "−" : "") + Math.abs(value).toFixed(1);
const number = () => Math.floor(Math.random() * 10000);

// generator: a session of the runtime. directions: attribute -> what is added to the latents. told: what latents.json says.
function start(generator, directions, told) {
  const { layout, size } = generator.about;
  const zDim = layout.z_dim, firstCode = layout.length - layout.continuous; // of the continuous ones
  const controls = []; // {input, rest(), say(), move(vector)}
  const [face, changed, other] = ["The face as it was drawn", "The face changed", "The other face"].map((name) =>
    element("canvas", "", { width: size, height: size, role: "img", "aria-label": name }));
  const status = element("p", "", { role: "status" });
  const time = element("span");

  // A slider with its name, its value and a remark. rest: where it stands for a face that nobody has changed.
  function slider({ name, key, least, most, remark, rest, said, move }) {
    const id = `latents-${key}`;
    const value = element("output", "", { for: id });
    const input = element("input", "", {
      type: "range", id, min: least, max: most, step: "0.1", ...(remark ? { "aria-describedby": `${id}-remark` } : {}) });
    const say = () => {
      value.textContent = said(input.valueAsNumber);
      input.setAttribute("aria-valuetext", value.textContent);
    };
    input.addEventListener("input", () => { say(); show(); });
    input.addEventListener("change", tell);
    controls.push({ input, rest, say, move, name });
    const box = element("div", "", { class: "latents-slider" }, element("label", name, { for: id }), value, input);
    if (remark) box.append(element("small", remark, { id: `${id}-remark` }));
    return box;
  }

  const percent = (share) => `${Math.round(100 * share)}\u00a0%`;
  const attributes = told.attributes.map(({ name, label, changed: shares }) => slider({
    name: label, key: name, least: -MOST, most: MOST, rest: () => 0, said: (value) => `strength ${signed(value)}`,
    remark: `verdict changed: ${Object.entries(shares).map(([amount, share]) => `${percent(share)} at ${amount}`).join(", ")}`,
    move: (latents, value) => directions[name].forEach((d, i) => { latents[i] += value * d; }),
  }));
  const codes = Array.from({ length: layout.continuous }, (_, i) => slider({
    name: `Code ${i + 1}`, key: `c_cont${i}`, least: -1, most: 1, said: (value) => signed(value),
    remark: `c_cont${i}; from −1 to +1: ${told.codes[`c_cont${i}`]}`,
    rest: () => first[firstCode + i],
    move: (latents, value, moved) => { if (moved) latents[firstCode + i] = value; },
  }));
  const kind = element("select", "", { id: "latents-class" }, element("option", "as it is", { value: "" }),
    ...Array.from({ length: layout.categorical[0] }, (_, i) => element("option", `class ${i}`, { value: i })));
  const towards = slider({
    name: "Towards the other face", key: "towards", least: 0, most: 1, rest: () => 0, said: percent,
    move: (latents, share) => latents.forEach((value, i) => { latents[i] = (1 - share) * value + share * second[i]; }),
  });
  controls.unshift(controls.pop()); // between the faces first: attributes are added to what lies between

  const seeds = ["Face", "Other face"].map((name, i) => element("input", "", {
    type: "number", min: 0, max: 9999, step: 1, value: told.seeds[i], id: `latents-seed-${i}` }));
  const draw = (seed) => drawLatents(layout, seed.valueAsNumber || 0, told.spread);
  let first = draw(seeds[0]), second = draw(seeds[1]);

  // The latents that the controls say.
  const vector = () => {
    const latents = Float32Array.from(first);
    for (const { input, rest, move } of controls) {
      const value = input.valueAsNumber, moved = value !== nearest(input, rest());
      move(latents, value, moved);
    }
    if (kind.value !== "") {
      latents.fill(0, zDim, firstCode);
      latents[zDim + Number(kind.value)] = 1;
    }
    return latents;
  };
  const nearest = (input, value) => { // the place on the slider
    const spare = element("input", "", { type: "range", min: input.min, max: input.max, step: input.step });
    spare.value = value;
    return spare.valueAsNumber;
  };

  const paint = async (canvas, latents) => {
    const { image } = await generator.run({ latents });
    canvas.getContext("2d").putImageData(toPixels(image, size), 0, 0);
  };

  // One face at a time; what changes meanwhile is drawn when that one is done.
  const times = [];
  let wanted = false, working = false;
  async function show() {
    wanted = true;
    if (working) return;
    working = true;
    root.setAttribute("aria-busy", "true");
    while (wanted) {
      wanted = false;
      await paint(changed, vector());
      times.push(generator.milliseconds);
      const middle = times.slice(-KEPT).sort((a, b) => a - b)[Math.floor(Math.min(times.length, KEPT) / 2)];
      time.textContent = `${middle.toFixed(0)} ms a face`;
    }
    working = false;
    root.setAttribute("aria-busy", "false");
  }

  function tell() { // for a screen reader, once a slider has come to rest
    const moved = controls.filter(({ input, rest }) => input.valueAsNumber !== nearest(input, rest()))
      .map(({ name, input }) => `${name} ${input.getAttribute("aria-valuetext")}`);
    if (kind.value !== "") moved.push(`class ${kind.value}`);
    status.textContent = `Face ${seeds[0].value}: ${moved.join(", ") || "nothing changed"}.`;
  }

  function reset() {
    for (const { input, rest, say } of controls) { input.value = rest(); say(); }
    kind.value = "";
    tell();
    return show();
  }

  async function renew(seed) { // other faces to start from
    if (seed !== undefined) seeds[0].value = seed;
    [first, second] = seeds.map(draw);
    await paint(face, first);
    await paint(other, second);
    await reset();
  }

  const button = (text, act) => {
    const made = element("button", text, { type: "button" });
    made.addEventListener("click", act);
    return made;
  };
  for (const seed of seeds) seed.addEventListener("change", () => renew());
  kind.addEventListener("change", () => { tell(); show(); });
  const figure = (canvas, caption) => element("figure", "", {}, canvas, element("figcaption", caption));
  const numbered = (text, seed) => element("label", "", { for: seed.id }, text, seed);
  root.replaceChildren(
    element("div", "", { class: "latents-faces" }, figure(face, "As it was drawn"), figure(changed, "Changed")),
    element("div", "", { class: "latents-tools" }, numbered("Face number", seeds[0]),
      button("New face", () => renew(number())), button("Reset", reset), time),
    status,
    element("fieldset", "", {}, element("legend", "Attributes"), element("div", "", { class: "latents-sliders" }, ...attributes)),
    element("fieldset", "", {}, element("legend", "Between two faces"), towards,
      element("div", "", { class: "latents-tools" }, other, numbered("Other face number", seeds[1]))),
    element("details", "", {}, element("summary", "The generator's own codes"),
      element("div", "", { class: "latents-sliders" }, ...codes),
      element("div", "", { class: "latents-tools" }, element("label", "", { for: kind.id }, "Class (c_cat0)", kind))));
  return renew();
}

try {
  const [generator, known, told] = await Promise.all([
    session("infogan"), models(), load("latents.json").then((answer) => answer.json())]);
  await start(generator, known.predictor.directions, told);
} catch (error) {
  root.prepend(element("p", `The faces cannot be moved here. ${error.message} Below stands one that was moved beforehand.`,
    { role: "alert" }));
}
