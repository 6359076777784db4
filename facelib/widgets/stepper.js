// Steps through the frames written beside it. Runs as it is in any page: no kernel, no module, no other host.
for (const box of document.querySelectorAll("[data-facelib-stepper]:not([data-ready])")) {
  box.dataset.ready = "1";
  const frames = JSON.parse(box.querySelector('script[type="application/json"]').textContent);
  const slider = box.querySelector("input");
  let face = 0, hole = 0;
  const show = () => {
    const frame = { ...frames[face][0], ...frames[face][hole] }; // what a step leaves out is as in the first
    for (const picture of box.querySelectorAll("img")) {
      [picture.alt, picture.src] = frame[picture.dataset.part];
    }
    box.querySelector('[data-part="caption"]').textContent = frame.text;
    slider.value = hole;
    slider.setAttribute("aria-valuetext", frame.kind);
  };
  const turn = (value, by, count) => (value + by + count) % count;
  box.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.hole) hole = turn(hole, Number(button.dataset.hole), frames[face].length);
    if (button.dataset.face) face = turn(face, 1, frames.length);
    show();
  });
  slider.addEventListener("input", () => { hole = Number(slider.value); show(); });
}
