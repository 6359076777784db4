// The pictures of the latent editor: rows of faces with titles and names, and what is said of them. They are changed in
// place, so that nothing flickers while a slider moves and a screen reader hears the text change.

function render({ model, el }) {
  el.classList.add("facelib-latents");
  el.innerHTML = '<div></div><p role="status"></p>';
  const [rows, status] = el.children;

  const resize = (parent, count, make) => {
    while (parent.children.length > count) parent.lastChild.remove();
    while (parent.children.length < count) parent.append(make());
    return [...parent.children];
  };

  const copy = (text) => { // makes elements of this HTML, one at a time
    const template = Object.assign(document.createElement("template"), { innerHTML: text });
    return () => template.content.firstChild.cloneNode(true);
  };
  const row = copy('<div><p class="facelib-name"></p><div class="facelib-row"></div></div>');
  const picture = copy('<div><img class="dark-light"><span></span></div>');

  const nameSliders = () => { // their handles have no name of their own
    for (const box of el.closest(".facelib-live")?.querySelectorAll(".widget-slider") || []) {
      const name = box.querySelector("label")?.textContent;
      for (const handle of box.querySelectorAll(".noUi-handle, .ui-slider-handle")) handle.setAttribute("aria-label", name);
    }
  };

  const draw = () => {
    const shown = model.get("rows");
    resize(rows, shown.length, row).forEach((line, i) => {
      const [title, pictures] = shown[i];
      line.firstChild.textContent = title;
      resize(line.lastChild, pictures.length, picture).forEach((box, j) => {
        const { name, alt, src } = pictures[j];
        const [face, label] = box.children;
        face.alt = alt;
        if (face.src !== src) face.src = src;
        label.textContent = name;
      });
    });
    status.textContent = model.get("text");
    nameSliders();
  };

  model.on("change:rows", draw);
  model.on("change:text", draw);
  draw();

  const stopAsking = whenAlive(model, el, draw); // in kernel.js
  return () => {
    stopAsking();
    model.off("change:rows", draw);
    model.off("change:text", draw);
  };
}

export default { render };
