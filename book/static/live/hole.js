// A face on which a hole is drawn, with a brush or as boxes, by mouse, touch or keyboard.

import { element } from "./elements.js";

export const COLOUR = [140, 26, 217]; // of a hole, as in the book's figures (facelib.plots.HOLE)
const CANVAS = 512; // pixels of the canvas, about: it is finer than the face, so that the brush's ring is, too
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const TOOLS = { brush: "Brush", box: "Box", eraser: "Eraser" };

/** The drawing canvas and its tools. changed: called when a stroke is done; say: with what a key did. */
export const drawing = (size, changed, say) => {
  const scale = Math.max(1, Math.round(CANVAS / size)); // canvas pixels to one of the face
  const canvas = element("canvas", "", { width: size * scale, height: size * scale, tabindex: 0, role: "application", id: "hole",
    "aria-label": "The face, to draw a hole on", "aria-describedby": "hole-keys" });
  const pen = canvas.getContext("2d");
  const face = element("canvas", "", { width: size, height: size }); // the pixels, to be enlarged
  const shade = element("canvas", "", { width: size, height: size }); // the hole's
  const shades = new ImageData(size, size);
  for (let p = 0; p < size * size; p++) shades.data.set(COLOUR, 4 * p);
  const mask = new Uint8Array(size * size);
  let tool = "brush";
  let cursor = { x: size / 2, y: size / 2 };
  let corner = null; // where a box was begun
  let stroke = null; // the pointer that draws
  let ring = false;

  const tools = element("fieldset", "", { class: "tools" }, element("legend", "Tool"));
  for (const [value, text] of Object.entries(TOOLS)) {
    const radio = element("input", "", { type: "radio", name: "tool", value, ...(value === tool ? { checked: "" } : {}) });
    radio.addEventListener("change", () => { tool = value; corner = null; draw(); });
    tools.append(element("label", "", {}, radio, text));
  }
  // The brush's radius is a share of the face, so that it draws the same holes whatever the size.
  const slider = element("input", "", { type: "range", min: 1, max: 25, value: 9, "aria-label": "Size of the brush, per cent of the face" });
  slider.addEventListener("input", () => draw());
  tools.append(element("label", "", {}, "Size ", slider));
  const radius = () => (slider.value / 100) * size;

  const box = () => [Math.min(corner.x, cursor.x), Math.min(corner.y, cursor.y), Math.max(corner.x, cursor.x),
    Math.max(corner.y, cursor.y)].map(Math.round);

  const draw = () => {
    pen.imageSmoothingEnabled = true;
    pen.drawImage(face, 0, 0, canvas.width, canvas.height);
    pen.imageSmoothingEnabled = false; // a pixel is hole or it is not
    mask.forEach((bit, i) => { shades.data[4 * i + 3] = 255 * bit; });
    shade.getContext("2d").putImageData(shades, 0, 0);
    pen.drawImage(shade, 0, 0, canvas.width, canvas.height);
    if (!ring) return;
    for (const [colour, width] of [["black", 5], ["white", 2]]) { // seen on any face
      Object.assign(pen, { strokeStyle: colour, lineWidth: width });
      pen.beginPath();
      if (corner) {
        const [left, top, right, bottom] = box().map((v) => v * scale);
        pen.rect(left, top, right - left, bottom - top);
      } else {
        pen.arc(cursor.x * scale, cursor.y * scale, (tool === "box" ? 1 : radius()) * scale, 0, 2 * Math.PI);
      }
      pen.stroke();
    }
  };

  const dab = (value) => {
    const r = radius();
    for (let y = Math.max(0, Math.floor(cursor.y - r)); y < Math.min(size, cursor.y + r); y++) {
      for (let x = Math.max(0, Math.floor(cursor.x - r)); x < Math.min(size, cursor.x + r); x++) {
        if ((x + 0.5 - cursor.x) ** 2 + (y + 0.5 - cursor.y) ** 2 <= r * r) mask[y * size + x] = value;
      }
    }
  };

  const line = (to, value) => { // a fast stroke leaves no gaps
    const from = cursor;
    const steps = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y)));
    for (let i = 1; i <= steps; i++) {
      cursor = { x: from.x + ((to.x - from.x) * i) / steps, y: from.y + ((to.y - from.y) * i) / steps };
      dab(value);
    }
  };

  const closeBox = () => {
    const [left, top, right, bottom] = box();
    for (let y = top; y < bottom; y++) mask.fill(1, y * size + left, y * size + right);
    corner = null;
  };

  const inside = (v) => Math.min(size, Math.max(0, v));
  const place = (event) => {
    const rect = canvas.getBoundingClientRect();
    const [x, y] = [(event.clientX - rect.left) / rect.width, (event.clientY - rect.top) / rect.height];
    return { x: inside(x * size), y: inside(y * size) };
  };
  const ink = () => (tool === "eraser" ? 0 : 1);

  canvas.addEventListener("pointerdown", (event) => {
    if (stroke !== null || event.button !== 0) return;
    stroke = event.pointerId;
    canvas.setPointerCapture(stroke);
    ring = true;
    cursor = place(event);
    if (tool === "box") corner = cursor;
    else dab(ink());
    draw();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (stroke !== null && stroke !== event.pointerId) return; // a second finger does not draw
    ring = true;
    if (stroke === null || tool === "box") cursor = place(event);
    else line(place(event), ink());
    draw();
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, (event) => {
      if (stroke !== event.pointerId) return;
      stroke = null;
      if (corner) closeBox();
      draw();
      changed();
    });
  }
  canvas.addEventListener("pointerleave", () => { ring = document.activeElement === canvas; draw(); });
  canvas.addEventListener("focus", () => { ring = true; draw(); });
  canvas.addEventListener("blur", () => { ring = false; corner = null; draw(); });

  const empty = () => { mask.fill(0); corner = null; };
  const acts = { // what a key does -> what is told of it; only some change the hole
    move: ([x, y], fast) => {
      const step = fast ? Math.round(size / 8) : 1;
      cursor = { x: inside(Math.round(cursor.x) + x * step), y: inside(Math.round(cursor.y) + y * step) };
      if (corner) return `Box of ${box()[2] - box()[0]} by ${box()[3] - box()[1]} pixels.`;
      return `${TOOLS[tool]} at ${cursor.x} from the left, ${cursor.y} from the top.`;
    },
    paint: () => {
      if (tool !== "box") return dab(ink());
      if (corner) return closeBox();
      corner = cursor;
      return "A box begins here: move with the arrows, then press space.";
    },
    erase: () => dab(0),
  };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || stroke !== null) return;
    let told;
    if (MOVES[event.key]) told = acts.move(MOVES[event.key], event.shiftKey);
    else if (event.key === " " || event.key === "Enter") told = acts.paint();
    else if (event.key === "Delete" || event.key === "Backspace") told = acts.erase();
    else if (event.key.toLowerCase() === "c") told = empty();
    else if (event.key === "Escape" && corner) { corner = null; told = "The box is given up."; }
    else return;
    event.preventDefault(); // the page must not scroll
    event.stopPropagation(); // nor take the key for one of its own
    draw();
    if (told) say(told);
    else changed();
  });

  const keys = element("p", "Mouse or finger: draw on the face. Keys, once the face has the focus: arrows move (with Shift faster), "
    + "space or Enter draws, Delete erases, C clears.", { id: "hole-keys" });
  return {
    canvas, tools, keys, mask,
    show: (pixels) => { face.getContext("2d").putImageData(pixels, 0, 0); draw(); },
    clear: () => { empty(); draw(); changed(); },
    centre: () => {
      empty();
      const [first, last] = [Math.round(size / 4), size - Math.round(size / 4)];
      for (let y = first; y < last; y++) mask.fill(1, y * size + first, y * size + last);
      draw();
      changed();
    },
  };
};
