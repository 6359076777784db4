// The canvas of the pixels widget: the few pixels of a face, to be painted by mouse, touch or keyboard.
// They go to Python as size*size times rrggbb, once a stroke is done.

let widgets = 0;

function render({ model, el }) {
  const size = model.get("size");
  const scale = 32; // canvas pixels to one of the face
  const id = `facelib-pixels-${++widgets}`;
  el.classList.add("facelib-pixels");
  el.innerHTML = `
    <canvas width="${size * scale}" height="${size * scale}" tabindex="0" role="application"
      aria-label="The face's ${size} by ${size} pixels, to paint on" aria-describedby="${id}"></canvas>
    <div class="facelib-tools">
      <label>Colour <input type="color" aria-label="Colour of the brush"></label>
      <button type="button" aria-pressed="false">Pick from the face</button>
    </div>
    <p id="${id}">Paint with mouse or finger. Keys: arrows move, space paints, Enter takes the pixel's colour.</p>
    <p role="status"></p>`;
  const canvas = el.querySelector("canvas");
  const colour = el.querySelector("input");
  const picker = el.querySelector("button");
  const status = el.querySelector('[role="status"]');
  const pen = canvas.getContext("2d");
  const split = (text) => text.match(/.{6}/g) || [];
  let pixels = split(model.get("pixels"));
  let cursor = { x: size >> 1, y: size >> 1 };
  let stroke = null; // the pointer that draws
  let marked = false;
  let later = 0;     // a timer: painted with keys, not sent yet

  const at = () => cursor.y * size + cursor.x;

  const draw = () => {
    pixels.forEach((rgb, i) => {
      pen.fillStyle = `#${rgb}`;
      pen.fillRect((i % size) * scale, Math.floor(i / size) * scale, scale, scale);
    });
    if (!marked) return;
    for (const [ink, width] of [["black", 6], ["white", 2]]) { // seen on any colour
      pen.strokeStyle = ink;
      pen.lineWidth = width;
      pen.strokeRect(cursor.x * scale + 3, cursor.y * scale + 3, scale - 6, scale - 6);
    }
  };

  const say = (what) => { status.textContent = `${what} row ${cursor.y + 1}, column ${cursor.x + 1}: #${pixels[at()]}`; };

  const paint = () => { pixels[at()] = colour.value.slice(1); };

  const pick = () => {
    colour.value = `#${pixels[at()]}`;
    picker.setAttribute("aria-pressed", "false");
    say("Took the colour of");
  };

  const line = (to) => { // a fast stroke leaves no gaps
    const from = cursor;
    const steps = Math.max(Math.abs(to.x - from.x), Math.abs(to.y - from.y), 1);
    for (let i = 1; i <= steps; i++) {
      cursor = { x: Math.round(from.x + ((to.x - from.x) * i) / steps), y: Math.round(from.y + ((to.y - from.y) * i) / steps) };
      paint();
    }
  };

  const commit = () => {
    clearTimeout(later);
    later = 0;
    model.set("pixels", pixels.join(""));
    model.save_changes();
  };

  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    const into = (part) => Math.min(size - 1, Math.max(0, Math.floor(part * size)));
    return { x: into((event.clientX - box.left) / box.width), y: into((event.clientY - box.top) / box.height) };
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (stroke !== null || event.button !== 0) return;
    marked = true;
    cursor = place(event);
    if (picker.getAttribute("aria-pressed") === "true") {
      pick();
    } else {
      stroke = event.pointerId;
      canvas.setPointerCapture(stroke);
      paint();
    }
    draw();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (stroke !== null && stroke !== event.pointerId) return; // a second finger does not draw
    marked = true;
    if (stroke === null) cursor = place(event);
    else line(place(event));
    draw();
  });
  const lift = (event) => {
    if (stroke !== event.pointerId) return;
    stroke = null;
    commit();
  };
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
  canvas.addEventListener("pointerleave", () => { marked = document.activeElement === canvas; draw(); });
  canvas.addEventListener("focus", () => { marked = true; draw(); });
  canvas.addEventListener("blur", () => {
    marked = false;
    draw();
    if (later) commit(); // before the button that is pressed next
  });

  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    if (!moves[event.key] && event.key !== " " && event.key !== "Enter") return;
    event.preventDefault();  // the page must not scroll, and the notebook's own shortcuts must not fire
    event.stopPropagation();
    if (moves[event.key]) {
      const [x, y] = moves[event.key];
      cursor = { x: Math.min(size - 1, Math.max(0, cursor.x + x)), y: Math.min(size - 1, Math.max(0, cursor.y + y)) };
      say("At");
    } else if (event.key === "Enter") {
      pick();
    } else {
      paint();
      say("Painted");
      clearTimeout(later);
      later = setTimeout(commit, 250); // one enlargement for a held key, not one for every repeat
    }
    draw();
  });

  picker.addEventListener("click", () => {
    picker.setAttribute("aria-pressed", picker.getAttribute("aria-pressed") === "true" ? "false" : "true");
  });
  const pixelsChanged = () => {
    if (stroke !== null || later) return; // an answer to the last stroke must not undo the one being drawn
    pixels = split(model.get("pixels"));
    status.textContent = "";
    draw();
  };
  model.on("change:pixels", pixelsChanged);
  colour.value = `#${pixels[0] || "000000"}`; // a corner: hair or background, seen wherever it is painted on a face
  draw();

  const stopAsking = whenAlive(model, el, draw); // in kernel.js
  return () => {
    stopAsking();
    clearTimeout(later);
    model.off("change:pixels", pixelsChanged);
  };
}

export default { render };
