// A reader's own photograph: read, a face looked for, its eyes marked so that the reader can move the marks. All in this page.

import { align } from "./align.js";
import { element } from "./elements.js";
import { findEyes, findFace, grey } from "./eyes.js";
import { load } from "./runtime.js";

const LONGEST = 1600; // pixels of a photograph's longer side; a larger one is shrunk
const LOOKED_AT = 1024; // of its copy in which a face is looked for
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const pixelsOf = (source, width, height, box = [0, 0, source.width, source.height]) => {
  const pen = element("canvas", "", { width, height }).getContext("2d", { willReadFrequently: true });
  pen.imageSmoothingQuality = "high";
  pen.drawImage(source, ...box, 0, 0, width, height);
  return pen.getImageData(0, 0, width, height);
};

const decode = async (file) => { // -> ImageData, upright
  let picture;
  try {
    picture = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new Error(`${file.name} cannot be read as a picture; give a JPEG, PNG or WebP file.`);
  }
  const scale = Math.min(1, LONGEST / Math.max(picture.width, picture.height));
  const [width, height] = [picture.width, picture.height].map((side) => Math.max(1, Math.round(side * scale)));
  return pixelsOf(picture, width, height);
};

const look = async (canvas) => { // -> [eyes in pixels of the canvas, what was found]
  const { width, height } = canvas;
  const cascades = await (await load("cascades.json")).json();
  const scale = Math.min(1, LOOKED_AT / Math.max(width, height));
  const face = findFace(cascades, grey(pixelsOf(canvas, Math.round(width * scale), Math.round(height * scale))));
  if (!face) return [[[0.4, 0.45], [0.6, 0.45]].map(([x, y]) => [x * width, y * height]), "none"];
  const [x, y, side] = face.map((v) => v / scale);
  const { eyes, seen } = findEyes(cascades, grey(pixelsOf(canvas, 240, 240, [x, y, side, side])));
  return [eyes.map(([fx, fy]) => [x + fx * side - 0.5, y + fy * side - 0.5]), seen ? "eyes" : "face"];
};

const FOUND = {
  eyes: "A face and its eyes were found. If the marks are not on the eyes, move them.",
  face: "A face was found, its eyes were guessed: move the two marks onto them.",
  none: "No face was found. Move the two marks onto the eyes by hand: the face is cut out by them.",
};

/** A picker and a panel for photographs. chosen: called with the aligned face, ImageData, whenever it changes. */
export const photographs = (size, chosen) => {
  const canvas = element("canvas", "", { role: "img", "aria-label": "Your photograph" });
  const stage = element("div", "", { class: "photo", hidden: "" }, canvas);
  const note = element("p", "", { role: "status" });
  const input = element("input", "", { type: "file", accept: "image/*" });
  const panel = element("div", "", { class: "own" }, element("label", "Your own photograph (or drop one here) ", {}, input), note,
    stage);
  let photo = null;
  let eyes = [];

  const cut = () => {
    if (Math.hypot(eyes[0][0] - eyes[1][0], eyes[0][1] - eyes[1][1]) < 2) return; // no direction, no size
    chosen(align(photo, eyes, size));
  };
  const marks = ["One eye", "Other eye"].map((name, i) => {
    const mark = element("button", "", { type: "button", class: "eye" });
    const put = (x, y) => {
      eyes[i] = [Math.min(photo.width - 1, Math.max(0, x)), Math.min(photo.height - 1, Math.max(0, y))];
      const [left, top] = [(eyes[i][0] + 0.5) / photo.width, (eyes[i][1] + 0.5) / photo.height];
      Object.assign(mark.style, { left: `${100 * left}%`, top: `${100 * top}%` });
      mark.setAttribute("aria-label", `${name}, ${Math.round(eyes[i][0])} from the left, ${Math.round(eyes[i][1])} from the top`);
    };
    let held = null; // where pointer and mark were when it was taken: a finger need not cover the eye
    mark.addEventListener("pointerdown", (event) => {
      mark.setPointerCapture(event.pointerId);
      held = { x: event.clientX, y: event.clientY, eye: eyes[i] };
    });
    mark.addEventListener("pointermove", (event) => {
      if (!held) return;
      const scale = photo.width / canvas.getBoundingClientRect().width;
      put(held.eye[0] + (event.clientX - held.x) * scale, held.eye[1] + (event.clientY - held.y) * scale);
    });
    for (const end of ["pointerup", "pointercancel"]) mark.addEventListener(end, () => { held = null; cut(); });
    mark.addEventListener("keydown", (event) => {
      if (!MOVES[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      const step = Math.max(1, photo.width / 320) * (event.shiftKey ? 10 : 1);
      put(...eyes[i].map((v, k) => v + MOVES[event.key][k] * step));
      cut();
    });
    stage.append(mark);
    return { put, mark };
  });

  const open = async (file) => {
    try {
      note.textContent = "Looking for a face …";
      const pixels = await decode(file);
      Object.assign(canvas, { width: pixels.width, height: pixels.height });
      canvas.getContext("2d").putImageData(pixels, 0, 0);
      const [found, what] = await look(canvas);
      photo = pixels;
      marks.forEach(({ put }, i) => put(...found[i]));
      stage.hidden = false;
      note.textContent = `${FOUND[what]} A mark is dragged, or moved with the arrow keys (with Shift faster) once it has the focus.`;
      cut();
    } catch (error) {
      note.textContent = error.message;
    }
  };
  input.addEventListener("change", () => { if (input.files.length) open(input.files[0]); input.value = ""; });
  return { panel, open, hide: () => { stage.hidden = true; note.textContent = ""; } };
};
