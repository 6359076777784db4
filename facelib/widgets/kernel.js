// Is there a kernel? Ask until it answers (it may be busy with other cells); a built page never hears anything. Once it
// answers, the live widget shows, drawn anew, and the stepper that stands in for it hides. Returns what stops the asking.
function whenAlive(model, el, draw) {
  const heard = (message) => {
    const live = el.closest(".facelib-live");
    if (message.type !== "alive" || !live) return; // not in the page yet: the next answer will do
    clearInterval(asking);
    live.classList.add("facelib-alive");
    document.querySelectorAll(`[data-facelib-stepper="${model.get("demo")}"]`).forEach((box) => { box.hidden = true; });
    draw();
  };
  const ask = () => { try { model.send({ type: "alive?" }); } catch { /* no channel: no kernel */ } };
  const asking = setInterval(ask, 1500);
  model.on("msg:custom", heard);
  ask();
  return () => {
    clearInterval(asking);
    model.off("msg:custom", heard);
  };
}

