// The drawing canvas of the masking widget: a face, a hole painted over it by mouse, touch or keyboard.
// The mask goes to Python as height*width letters, 1 = hole, once a stroke is done.

let widgets = 0;

function render({ model, el }) {
  const [height, width] = model.get("size");
  const shorter = Math.min(height, width), longer = Math.max(height, width);
  const scale = Math.max(2, Math.round(256 / longer)); // canvas pixels to one of the image: the brush's ring is finer than it
  const pace = Math.max(1, Math.round(shorter / 8));   // pixels that an arrow key moves the brush with Shift
  const id = `facelib-canvas-${++widgets}`;
  el.classList.add("facelib-canvas");
  el.classList.toggle("facelib-large", model.get("large"));
  el.innerHTML = `
    <canvas width="${width * scale}" height="${height * scale}" tabindex="0" role="application"
      aria-label="Masked face, a canvas to paint the hole on" aria-describedby="${id}"></canvas>
    <p class="facelib-name">Masked</p>
    <div class="facelib-tools">
      <button type="button" aria-pressed="false">Erase</button>
      <label>Brush <input type="range" min="1" max="${Math.round(shorter / 5)}" value="${Math.round(shorter / 11)}"
        aria-label="Radius of the brush in pixels"></label>
    </div>
    <p id="${id}">Paint with mouse or finger. Keys: arrows move (with Shift faster), space paints, backspace erases.</p>
    <p role="status"></p>`;
  const canvas = el.querySelector("canvas");
  const eraser = el.querySelector("button");
  const radius = el.querySelector("input");
  const status = el.querySelector('[role="status"]');
  const pen = canvas.getContext("2d");
  const face = new Image();
  let mask = Uint8Array.from(model.get("mask"), Number);
  let brush = { x: width / 2, y: height / 2 };
  let stroke = null; // the pointer that draws
  let ring = false;
  let later = 0;

  const draw = () => {
    if (face.complete && face.naturalWidth) {
      pen.imageSmoothingEnabled = false;
      pen.drawImage(face, 0, 0, canvas.width, canvas.height);
    }
    pen.fillStyle = model.get("colour");
    for (let i = 0; i < mask.length; i++) {
      if (mask[i]) pen.fillRect((i % width) * scale, Math.floor(i / width) * scale, scale, scale);
    }
    if (!ring) return;
    for (const [colour, thickness] of [["black", 5], ["white", 2]]) { // seen on any face
      pen.strokeStyle = colour;
      pen.lineWidth = thickness;
      pen.beginPath();
      pen.arc(brush.x * scale, brush.y * scale, radius.value * scale, 0, 2 * Math.PI);
      pen.stroke();
    }
  };

  const dab = (value) => {
    const r = Number(radius.value);
    for (let y = Math.max(0, Math.floor(brush.y - r)); y < Math.min(height, brush.y + r); y++) {
      for (let x = Math.max(0, Math.floor(brush.x - r)); x < Math.min(width, brush.x + r); x++) {
        if ((x + 0.5 - brush.x) ** 2 + (y + 0.5 - brush.y) ** 2 <= r * r) mask[y * width + x] = value;
      }
    }
  };

  const line = (to, value) => { // a fast stroke leaves no gaps
    const from = brush;
    const steps = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y)));
    for (let i = 1; i <= steps; i++) {
      brush = { x: from.x + ((to.x - from.x) * i) / steps, y: from.y + ((to.y - from.y) * i) / steps };
      dab(value);
    }
  };

  const commit = () => {
    model.set("mask", mask.join(""));
    model.save_changes();
  };

  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return { x: ((event.clientX - box.left) / box.width) * width, y: ((event.clientY - box.top) / box.height) * height };
  };

  const ink = () => (eraser.getAttribute("aria-pressed") === "true" ? 0 : 1);

  canvas.addEventListener("pointerdown", (event) => {
    if (stroke !== null || event.button !== 0) return;
    stroke = event.pointerId;
    canvas.setPointerCapture(stroke);
    ring = true;
    brush = place(event);
    dab(ink());
    draw();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (stroke !== null && stroke !== event.pointerId) return; // a second finger does not draw
    ring = true;
    if (stroke === null) brush = place(event);
    else line(place(event), ink());
    draw();
  });
  const lift = (event) => {
    if (stroke !== event.pointerId) return;
    stroke = null;
    commit();
  };
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
  canvas.addEventListener("pointerleave", () => { ring = document.activeElement === canvas; draw(); });
  canvas.addEventListener("focus", () => { ring = true; draw(); });
  canvas.addEventListener("blur", () => { ring = false; draw(); });

  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const paints = event.key === " ", erases = event.key === "Backspace" || event.key === "Delete";
    if (!moves[event.key] && !paints && !erases) return;
    event.preventDefault();  // the page must not scroll, and the notebook's own shortcuts must not fire
    event.stopPropagation();
    if (moves[event.key]) {
      const [x, y] = moves[event.key].map((step) => step * (event.shiftKey ? pace : 1));
      brush = { x: Math.min(width, Math.max(0, brush.x + x)), y: Math.min(height, Math.max(0, brush.y + y)) };
    } else {
      dab(paints ? 1 : 0);
      clearTimeout(later);
      later = setTimeout(commit, 250); // one completion for a held key, not one for every repeat
    }
    const share = Math.round((100 * mask.reduce((sum, bit) => sum + bit, 0)) / mask.length);
    status.textContent = `Brush at ${Math.round(brush.x)}, ${Math.round(brush.y)}; hole ${share} %`;
    draw();
  });

  eraser.addEventListener("click", () => eraser.setAttribute("aria-pressed", ink() ? "true" : "false"));
  radius.addEventListener("input", draw);
  face.addEventListener("load", draw);
  const faceChanged = () => { face.src = model.get("image"); };
  const maskChanged = () => {
    if (stroke !== null) return; // an answer to the last stroke must not undo the one being drawn
    mask = Uint8Array.from(model.get("mask"), Number);
    status.textContent = "";
    draw();
  };
  model.on("change:image", faceChanged);
  model.on("change:mask", maskChanged);
  if (model.get("image")) faceChanged();

  const stopAsking = whenAlive(model, el, draw); // in kernel.js
  return () => {
    stopAsking();
    clearTimeout(later);
    model.off("change:image", faceChanged);
    model.off("change:mask", maskChanged);
  };
}

export default { render };
